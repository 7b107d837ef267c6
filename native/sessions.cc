/**
 * @file Running graphs from JavaScript. A graph is loaded from memory, and its functions are prepared once, so that a run
 * looks up no names. Ops never run on the calling thread: TensorFlow's matrix products are generated code that uses the
 * stack pointer for data, so a signal handler (Ctrl-C, a profiler) would write to the heap.
 */
#include "sessions.h"

#include <thread>

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

/** A graph with its resources, until it is closed. */
class Session {
public:
  /** @param target address of the server that divides the graph among processes; empty: all of it runs in this one. */
  Session(const Js::Array &graphDef, const std::string &target, const Js::Array &config) : graph(TF_NewGraph()) {
    const Owned<TF_Buffer> bytes(TF_NewBufferFromString(graphDef.data, graphDef.length));
    const Owned<TF_ImportGraphDefOptions> importing(TF_NewImportGraphDefOptions());
    const Status status = newStatus();
    TF_GraphImportGraphDef(graph.get(), bytes.get(), importing.get(), status.get());
    check(status);
    const Owned<TF_SessionOptions> options(TF_NewSessionOptions());
    TF_SetConfig(options.get(), config.data, config.length, status.get());
    check(status);
    TF_SetTarget(options.get(), target.c_str());
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

/** `values` as a tensor, which uses their memory if the alignment suffices, unless it is to be a copy. */
Tensor fed(const Js &js, napi_value values, napi_value shape, bool copied) {
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
  if (copied) {
    Tensor copy(TF_AllocateTensor(type, dims.data(), static_cast<int>(dims.size()), size * TF_DataTypeSize(type)));
    if (size > 0) memcpy(TF_TensorData(copy.get()), array.data, size * TF_DataTypeSize(type));
    return copy;
  }
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

/** (graphDef: Uint8Array, target: string, config: Uint8Array) -> session; `config` is a ConfigProto. */
napi_value load(const Js &js, const napi_value *arguments) {
  const Js::Array graphDef = js.typedArray(arguments[0]), config = js.typedArray(arguments[2]);
  return js.hold(std::make_unique<Session>(graphDef, js.text(arguments[1]), config));
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

/** A run of a function: its inputs, and later its outputs. */
class Run {
public:
  /** @param copied whether the inputs are copied; if not, their arrays must stay as they are until the run has ended. */
  Run(const Js &js, TF_Session *session, const Function &function, napi_value shapes, napi_value values, bool copied)
      : session(session), function(function), made(function.fetches.size()), status(newStatus()) {
    require(js.length(values) == function.feeds.size(), "a function was called with another number of inputs");
    for (uint32_t i = 0; i < function.feeds.size(); i++) {
      inputs.push_back(fed(js, js.element(values, i), js.element(shapes, i), copied));
    }
  }

  void compute() {
    std::vector<TF_Tensor *> given;
    for (const Tensor &input : inputs) given.push_back(input.get());
    TF_SessionRun(session, nullptr, function.feeds.data(), given.data(), static_cast<int>(given.size()),
                  function.fetches.data(), made.data(), static_cast<int>(made.size()), nullptr, 0, nullptr,
                  status.get());
  }

  /** The outputs. @throws the error of the run. */
  napi_value results(const Js &js) {
    check(status);
    const std::vector<Tensor> outputs(made.begin(), made.end());
    std::vector<napi_value> values;
    for (const Tensor &output : outputs) values.push_back(copied(js, output));
    return js.array(values);
  }

private:
  TF_Session *session;
  const Function &function;
  std::vector<Tensor> inputs;
  std::vector<TF_Tensor *> made;
  Status status;
};

/** (session, function, shapes: number[][], values: TypedArray[]) -> TypedArray[] */
napi_value run(const Js &js, const napi_value *arguments) {
  TF_Session *session = js.held<Session>(arguments[0]).open();
  Run run(js, session, js.held<Function>(arguments[1]), arguments[2], arguments[3], false);
  run.compute();
  return run.results(js);
}

/** A run on a thread of its own. */
struct Started {
  Run run;
  /** Keep session and function. */
  napi_ref session, function;
  napi_deferred promise;
  napi_threadsafe_function ended;
};

/** On the thread of JavaScript, after the run. */
void settle(napi_env env, napi_value, void *, void *data) {
  const std::unique_ptr<Started> started(static_cast<Started *>(data));
  if (env == nullptr) return; // the process ends
  try {
    napi_resolve_deferred(env, started->promise, started->run.results(Js(env)));
  } catch (const std::exception &error) {
    napi_value message = nullptr, reason = nullptr;
    napi_create_string_utf8(env, error.what(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, nullptr, message, &reason);
    napi_reject_deferred(env, started->promise, reason);
  }
  napi_delete_reference(env, started->session);
  napi_delete_reference(env, started->function);
}

/** (session, function, shapes: number[][], values: TypedArray[]) -> Promise<TypedArray[]> */
napi_value start(const Js &js, const napi_value *arguments) {
  TF_Session *session = js.held<Session>(arguments[0]).open();
  auto started = std::make_unique<Started>(
      Started{Run(js, session, js.held<Function>(arguments[1]), arguments[2], arguments[3], true),
              js.reference(arguments[0]), js.reference(arguments[1]), nullptr, nullptr});
  const napi_value promise = js.promise(&started->promise);
  started->ended = js.calledFromThreads("tinyzero run", settle);
  std::thread([run = started.release()] {
    run->run.compute();
    const napi_threadsafe_function ended = run->ended;
    napi_call_threadsafe_function(ended, run, napi_tsfn_blocking);
    napi_release_threadsafe_function(ended, napi_tsfn_release);
  }).detach();
  return promise;
}

/** (session): frees its memory. */
napi_value close(const Js &js, const napi_value *arguments) {
  js.held<Session>(arguments[0]).close();
  return js.undefined();
}

} // namespace

void exportSessions(const Js &js, napi_value exports) {
  js.define<load, 3>(exports, "load");
  js.define<prepare, 3>(exports, "prepare");
  js.define<run, 4>(exports, "run");
  js.define<start, 4>(exports, "start");
  js.define<close, 1>(exports, "close");
}
