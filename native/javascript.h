/** @file JavaScript values through Node-API. */
#pragma once
#include <node_api.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

/** Errors are C++ exceptions, which `define` turns into JavaScript exceptions. */
class Js {
public:
  explicit Js(napi_env env) : env(env) {}

  void check(napi_status status) const {
    if (status != napi_ok) throw std::runtime_error("an argument has the wrong JavaScript type");
  }

  uint32_t length(napi_value array) const {
    uint32_t length = 0;
    check(napi_get_array_length(env, array, &length));
    return length;
  }

  napi_value element(napi_value array, uint32_t index) const {
    napi_value value = nullptr;
    check(napi_get_element(env, array, index, &value));
    return value;
  }

  std::string text(napi_value value) const {
    size_t size = 0;
    check(napi_get_value_string_utf8(env, value, nullptr, 0, &size));
    std::string result(size, '\0');
    check(napi_get_value_string_utf8(env, value, &result[0], size + 1, &size));
    return result;
  }

  int64_t integer(napi_value value) const {
    int64_t result = 0;
    check(napi_get_value_int64(env, value, &result));
    return result;
  }

  /** The object behind a handle. */
  template <class T> T &held(napi_value handle) const {
    void *object = nullptr;
    check(napi_get_value_external(env, handle, &object));
    return *static_cast<T *>(object);
  }

  /** A handle that frees its object when it is garbage collected. */
  template <class T> napi_value hold(std::unique_ptr<T> object) const {
    napi_value handle = nullptr;
    const auto finalize = [](napi_env, void *data, void *) { delete static_cast<T *>(data); };
    check(napi_create_external(env, object.get(), finalize, nullptr, &handle));
    object.release();
    return handle;
  }

  struct Array {
    napi_typedarray_type type;
    size_t length;
    void *data;
  };

  Array typedArray(napi_value value) const {
    Array array{};
    check(napi_get_typedarray_info(env, value, &array.type, &array.length, &array.data, nullptr, nullptr));
    return array;
  }

  napi_value undefined() const {
    napi_value value = nullptr;
    check(napi_get_undefined(env, &value));
    return value;
  }

  napi_value text(const char *characters) const {
    napi_value value = nullptr;
    check(napi_create_string_utf8(env, characters, NAPI_AUTO_LENGTH, &value));
    return value;
  }

  napi_value number(uint32_t number) const {
    napi_value value = nullptr;
    check(napi_create_uint32(env, number, &value));
    return value;
  }

  napi_value boolean(bool flag) const {
    napi_value value = nullptr;
    check(napi_get_boolean(env, flag, &value));
    return value;
  }

  napi_value array(const std::vector<napi_value> &elements) const {
    napi_value value = nullptr;
    check(napi_create_array_with_length(env, elements.size(), &value));
    for (uint32_t i = 0; i < elements.size(); i++) check(napi_set_element(env, value, i, elements[i]));
    return value;
  }

  /** A copy of `length` values, which take `bytes` bytes in total. */
  napi_value typedArray(napi_typedarray_type type, size_t length, const void *values, size_t bytes) const {
    void *data = nullptr;
    napi_value buffer = nullptr, value = nullptr;
    check(napi_create_arraybuffer(env, bytes, &data, &buffer));
    if (bytes > 0) memcpy(data, values, bytes);
    check(napi_create_typedarray(env, type, length, buffer, 0, &value));
    return value;
  }

  /** Keeps a value from being garbage collected. */
  napi_ref reference(napi_value value) const {
    napi_ref reference = nullptr;
    check(napi_create_reference(env, value, 1, &reference));
    return reference;
  }

  napi_value promise(napi_deferred *deferred) const {
    napi_value promise = nullptr;
    check(napi_create_promise(env, deferred, &promise));
    return promise;
  }

  /** A function that other threads may call; `body` then runs on JavaScript's thread. */
  napi_threadsafe_function calledFromThreads(const char *name, napi_threadsafe_function_call_js body) const {
    napi_threadsafe_function function = nullptr;
    check(napi_create_threadsafe_function(env, nullptr, nullptr, text(name), 0, 1, nullptr, nullptr, nullptr, body,
                                          &function));
    return function;
  }

  void set(napi_value object, const char *name, napi_value value) const {
    check(napi_set_named_property(env, object, name, value));
  }

  /** Adds a method with this number of arguments to `object`; exceptions of `body` are thrown in JavaScript. */
  template <napi_value (*body)(const Js &, const napi_value *), size_t count>
  void define(napi_value object, const char *name) const {
    const auto method = [](napi_env env, napi_callback_info info) -> napi_value {
      try {
        const Js js(env);
        napi_value arguments[count];
        size_t given = count;
        js.check(napi_get_cb_info(env, info, &given, arguments, nullptr, nullptr));
        return body(js, arguments);
      } catch (const std::exception &error) {
        napi_throw_error(env, nullptr, error.what());
        return nullptr;
      }
    };
    napi_value function = nullptr;
    check(napi_create_function(env, name, NAPI_AUTO_LENGTH, method, nullptr, &function));
    set(object, name, function);
  }

private:
  napi_env env;
};
