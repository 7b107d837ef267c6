/**
 * @file Runs graphs for JavaScript. A graph is loaded from memory, and the names of a function's tensors are read
 * once. Ops never run on the calling thread: TensorFlow's matrix products are generated code that uses the
 * stack pointer for data, so a signal handler (Ctrl-C, a profiler) would write to the heap.
 */
#include "sessions.h"

#include <atomic>
#include <thread>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "tensorflow.h"
#include "tensorflow/c/c_api.h"

namespace {

struct Deleter {
  void operator()(TF_SessionOptions *options) const { TF_DeleteSessionOptions(options); }
  void operator()(TF_DeprecatedSession *session) const { TF_DeleteDeprecatedSession(session, newStatus().get()); }
};
template <class T> using Owned = std::unique_ptr<T, Deleter>;

/**
 * A graph with its resources, until it is closed. Uses TensorFlow's older kind of session, without a `TF_Graph`: that
 * would keep a second copy of the graph (0.1 GB for the updates of a model of 30 layers).
 */
class Session {
public:
  /** @param target address of the server that divides the graph among processes; if empty, all runs in this one. */
  Session(const Js::Array &graphDef, const std::string &target, const Js::Array &config) {
    const Status status = newStatus();
    const Owned<TF_SessionOptions> options(TF_NewSessionOptions());
    TF_SetConfig(options.get(), config.data, config.length, status.get());
    check(status);
    TF_SetTarget(options.get(), target.c_str());
    session.reset(TF_NewDeprecatedSession(options.get(), status.get()));
    check(status);
    TF_ExtendGraph(session.get(), graphDef.data, graphDef.length, status.get());
    check(status);
  }

  void close() { session.reset(); }

  TF_DeprecatedSession *open() const {
    require(session != nullptr, "the session is closed");
    return session.get();
  }

private:
  Owned<TF_DeprecatedSession> session;
};

/** Names of tensors, `node:output`. */
class Names {
public:
  Names(const Js &js, napi_value names) {
    for (uint32_t i = 0; i < js.length(names); i++) texts.push_back(js.text(js.element(names, i)));
    for (const std::string &text : texts) pointers.push_back(text.c_str());
  }
  Names(const Names &) = delete;

  uint32_t size() const { return static_cast<uint32_t>(pointers.size()); }
  /** TensorFlow does not change them. */
  const char **get() { return pointers.data(); }

private:
  std::vector<std::string> texts;
  std::vector<const char *> pointers;
};

struct Function {
  Names feeds, fetches;
  std::atomic<bool> prepared{false};
};

/** `values` as a tensor: a copy if `copied`, otherwise one that uses their memory where its alignment allows that. */
Tensor fed(const Js &js, napi_value values, napi_value shape, bool copied) {
  const Js::Array array = js.typedArray(values);
  const TF_DataType type = array.type == napi_float32_array ? TF_FLOAT
                           : array.type == napi_int32_array ? TF_INT32
                                                            : TF_BOOL;
  require(type != TF_BOOL || array.type == napi_uint8_array,
          "expected inputs that are a Float32Array, Int32Array or Uint8Array");
  Shape dims;
  int64_t size = 1;
  for (uint32_t axis = 0; axis < js.length(shape); axis++) {
    dims.push_back(js.integer(js.element(shape, axis)));
    size *= dims.back();
  }
  require(size == static_cast<int64_t>(array.length), "expected ", size, " numbers for an input of shape ", dims,
          ", found ", static_cast<int64_t>(array.length));
  if (copied) {
    Tensor copy(TF_AllocateTensor(type, dims.data(), static_cast<int>(dims.size()), size * TF_DataTypeSize(type)));
    if (size > 0) memcpy(TF_TensorData(copy.get()), array.data, size * TF_DataTypeSize(type));
    return copy;
  }
  const auto keep = [](void *, size_t, void *) {};
  return Tensor(TF_NewTensor(type, dims.data(), static_cast<int>(dims.size()), array.data, size * TF_DataTypeSize(type),
                             keep, nullptr));
}

/** A copy of a tensor's values. */
napi_value copied(const Js &js, const Tensor &tensor) {
  const TF_DataType type = TF_TensorType(tensor.get());
  require(type == TF_FLOAT || type == TF_INT32 || type == TF_BOOL,
          "expected results of type float32, int32 or bool, found ", type);
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

/** (feeds: string[], fetches: string[]) -> function */
napi_value prepare(const Js &js, const napi_value *arguments) {
  return js.hold(std::unique_ptr<Function>(new Function{{js, arguments[0]}, {js, arguments[1]}}));
}

/** A run of a function: its inputs, and later its outputs. */
class Run {
public:
  /** @param copied whether the inputs are copied; if not, their arrays must not change until the run has ended. */
  Run(const Js &js, TF_DeprecatedSession *session, Function &function, napi_value shapes, napi_value values,
      bool copied)
      : session(session), function(function), made(function.fetches.size()), status(newStatus()) {
    require(js.length(values) == function.feeds.size(), "expected ", function.feeds.size(), " inputs, found ",
            js.length(values));
    for (uint32_t i = 0; i < function.feeds.size(); i++) {
      inputs.push_back(fed(js, js.element(values, i), js.element(shapes, i), copied));
    }
  }

  void compute() {
    std::vector<TF_Tensor *> given;
    for (const Tensor &input : inputs) given.push_back(input.get());
    TF_Run(session, nullptr, function.feeds.get(), given.data(), static_cast<int>(given.size()), function.fetches.get(),
           made.data(), static_cast<int>(made.size()), nullptr, 0, nullptr, status.get());
#ifdef __GLIBC__
    // In its first run of a function, TensorFlow copies the graph. The allocator would keep the memory of these copies.
    if (!function.prepared.exchange(true)) malloc_trim(0);
#endif
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
  TF_DeprecatedSession *session;
  Function &function;
  std::vector<Tensor> inputs;
  std::vector<TF_Tensor *> made;
  Status status;
};

/** (session, function, shapes: number[][], values: TypedArray[]) -> TypedArray[] */
napi_value run(const Js &js, const napi_value *arguments) {
  TF_DeprecatedSession *session = js.held<Session>(arguments[0]).open();
  Run run(js, session, js.held<Function>(arguments[1]), arguments[2], arguments[3], false);
  run.compute();
  return run.results(js);
}

/** A run on its own thread. */
struct Started {
  Run run;
  /** Keep session and function from being garbage collected. */
  napi_ref session, function;
  napi_deferred promise;
  napi_threadsafe_function ended;
};

/** Called on JavaScript's thread, after the run. */
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
  TF_DeprecatedSession *session = js.held<Session>(arguments[0]).open();
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
  js.define<prepare, 2>(exports, "prepare");
  js.define<run, 4>(exports, "run");
  js.define<start, 4>(exports, "start");
  js.define<close, 1>(exports, "close");
}
