/**
 * @file Running graphs from JavaScript. A graph is loaded from memory, and its functions are prepared once, so that a run
 * looks up no names. Ops never run on the calling thread: TensorFlow's matrix products are generated code that uses the
 * stack pointer for data, so a signal handler (Ctrl-C, a profiler) would write to the heap.
 */
#include "sessions.h"

#include "tensorflow.h"
#include "tensorflow/c/c_api.h"

namespace {

struct Deleter {
  void operator()(TF_Graph *graph) const { TF_DeleteGraph(graph); }
  void operator()(TF_Buffer *buffer) const { TF_DeleteBuffer(buffer); }
  void operator()(TF_SessionOptions *options) const { TF_DeleteSessionOptions(options); }
  void operator()(TF_ImportGraphDefOptions *options) const { TF_DeleteImportGraphDefOptions(options); }
};
template <class T> using Owned = std::unique_ptr<T, Deleter>;

/**
 * ConfigProto { graph_options { rewrite_options { disable_meta_optimizer: true } } experimental { disable_thread_spinning:
 * true } }. TensorFlow's graph optimiser finds almost nothing in these graphs, and reads the whole graph for each
 * function. Threads that spin while they wait slow down those that work.
 */
constexpr unsigned char config[] = {0x52, 0x05, 0x52, 0x03, 0x98, 0x01, 0x01, 0x82, 0x01, 0x02, 0x48, 0x01};

/** A graph with its resources, until it is closed. */
class Session {
public:
  Session(const void *graphDef, size_t size) : graph(TF_NewGraph()) {
    const Owned<TF_Buffer> bytes(TF_NewBufferFromString(graphDef, size));
    const Owned<TF_ImportGraphDefOptions> importing(TF_NewImportGraphDefOptions());
    const Status status = newStatus();
    TF_GraphImportGraphDef(graph.get(), bytes.get(), importing.get(), status.get());
    check(status);
    const Owned<TF_SessionOptions> options(TF_NewSessionOptions());
    TF_SetConfig(options.get(), config, sizeof config, status.get());
    check(status);
    session = TF_NewSession(graph.get(), options.get(), status.get());
    check(status);
  }
  ~Session() { close(); }

  void close() {
    if (session != nullptr) TF_DeleteSession(session, newStatus().get());
    session = nullptr;
  }

  TF_Session *open() const {
    require(session != nullptr, "the session is closed");
    return session;
  }

  /** The output `name:index`. */
  TF_Output find(const std::string &name) const {
    const size_t colon = name.rfind(':');
    require(colon != std::string::npos, "a tensor's name has no index");
    TF_Operation *operation = TF_GraphOperationByName(graph.get(), name.substr(0, colon).c_str());
    require(operation != nullptr, "the graph has no such tensor");
    return {operation, std::stoi(name.substr(colon + 1))};
  }

private:
  Owned<TF_Graph> graph;
  TF_Session *session = nullptr;
};

struct Function {
  std::vector<TF_Output> feeds, fetches;
};

/** `values` as a tensor, which uses their memory if the alignment suffices. */
Tensor fed(const Js &js, napi_value values, napi_value shape) {
  const Js::Array array = js.typedArray(values);
  const TF_DataType type = array.type == napi_float32_array ? TF_FLOAT
                           : array.type == napi_int32_array ? TF_INT32
                                                            : TF_BOOL;
  require(type != TF_BOOL || array.type == napi_uint8_array, "an input is of another kind than expected");
  Shape dims;
  int64_t size = 1;
  for (uint32_t axis = 0; axis < js.length(shape); axis++) {
    dims.push_back(js.integer(js.element(shape, axis)));
    size *= dims.back();
  }
  require(size == static_cast<int64_t>(array.length), "an input has another size than its shape");
  const auto keep = [](void *, size_t, void *) {};
  return Tensor(TF_NewTensor(type, dims.data(), static_cast<int>(dims.size()), array.data,
                             size * TF_DataTypeSize(type), keep, nullptr));
}

/** A copy of a tensor's values. */
napi_value copied(const Js &js, const Tensor &tensor) {
  const TF_DataType type = TF_TensorType(tensor.get());
  require(type == TF_FLOAT || type == TF_INT32 || type == TF_BOOL, "a result has a type that JavaScript lacks");
  const napi_typedarray_type kind = type == TF_FLOAT   ? napi_float32_array
                                    : type == TF_INT32 ? napi_int32_array
                                                       : napi_uint8_array;
  return js.typedArray(kind, tensor.size(), TF_TensorData(tensor.get()), TF_TensorByteSize(tensor.get()));
}

/** (graphDef: Uint8Array) -> session */
napi_value load(const Js &js, const napi_value *arguments) {
  const Js::Array bytes = js.typedArray(arguments[0]);
  return js.hold(std::make_unique<Session>(bytes.data, bytes.length));
}

/** (session, feeds: string[], fetches: string[]) -> function */
napi_value prepare(const Js &js, const napi_value *arguments) {
  const Session &session = js.held<Session>(arguments[0]);
  const auto tensors = [&](napi_value names) {
    std::vector<TF_Output> result;
    for (uint32_t i = 0; i < js.length(names); i++) result.push_back(session.find(js.text(js.element(names, i))));
    return result;
  };
  return js.hold(std::make_unique<Function>(Function{tensors(arguments[1]), tensors(arguments[2])}));
}

/** (session, function, shapes: number[][], values: TypedArray[]) -> TypedArray[] */
napi_value run(const Js &js, const napi_value *arguments) {
  TF_Session *session = js.held<Session>(arguments[0]).open();
  const Function &function = js.held<Function>(arguments[1]);
  require(js.length(arguments[3]) == function.feeds.size(), "a function was called with another number of inputs");
  std::vector<Tensor> inputs;
  std::vector<TF_Tensor *> given, made(function.fetches.size());
  for (uint32_t i = 0; i < function.feeds.size(); i++) {
    inputs.push_back(fed(js, js.element(arguments[3], i), js.element(arguments[2], i)));
    given.push_back(inputs.back().get());
  }
  const Status status = newStatus();
  TF_SessionRun(session, nullptr, function.feeds.data(), given.data(),
                static_cast<int>(given.size()), function.fetches.data(), made.data(), static_cast<int>(made.size()),
                nullptr, 0, nullptr, status.get());
  check(status);
  const std::vector<Tensor> outputs(made.begin(), made.end());
  std::vector<napi_value> values;
  for (const Tensor &output : outputs) values.push_back(copied(js, output));
  return js.array(values);
}

/** (session): frees its memory. */
napi_value close(const Js &js, const napi_value *arguments) {
  js.held<Session>(arguments[0]).close();
  return js.undefined();
}

} // namespace

void exportSessions(const Js &js, napi_value exports) {
  js.define<load, 1>(exports, "load");
  js.define<prepare, 3>(exports, "prepare");
  js.define<run, 4>(exports, "run");
  js.define<close, 1>(exports, "close");
}
