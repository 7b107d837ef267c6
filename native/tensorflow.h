/** @file The parts of TensorFlow's C API for kernels that are used here. `registerKernel` takes a class. */
#pragma once
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

struct StatusDeleter {
  void operator()(TF_Status *status) const { TF_DeleteStatus(status); }
};
using Status = std::unique_ptr<TF_Status, StatusDeleter>;

inline Status newStatus() { return Status(TF_NewStatus()); }

/** Exceptions become the error of the op. */
inline void check(const Status &status) {
  if (TF_GetCode(status.get()) != TF_OK) throw std::runtime_error(TF_Message(status.get()));
}

using Shape = std::vector<int64_t>;
class Tensor;

/** Parts of a message. */
inline std::string shown(const char *text) { return text; }
inline std::string shown(int64_t number) { return std::to_string(number); }
inline std::string shown(const Shape &shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); axis++) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}
inline std::string shown(TF_DataType type) {
  switch (type) {
  case TF_FLOAT: return "float32";
  case TF_BFLOAT16: return "bfloat16";
  case TF_INT32: return "int32";
  case TF_UINT8: return "uint8";
  case TF_BOOL: return "bool";
  default: return "number " + std::to_string(static_cast<int>(type)) + " of TF_DataType";
  }
}
std::string shown(const Tensor &tensor);

/** Throws an error with the message `parts` (texts, numbers, types, shapes, tensors) unless `condition` holds. */
template <class... Parts> void require(bool condition, const Parts &...parts) {
  if (!condition) throw std::runtime_error((std::string() + ... + shown(parts)));
}

class Tensor {
public:
  explicit Tensor(TF_Tensor *tensor) : tensor(tensor, TF_DeleteTensor) {}

  int64_t dim(int axis) const {
    const int from = axis < 0 ? rank() + axis : axis;
    require(from >= 0 && from < rank(), "expected a tensor with axis ", axis, ", found shape ", *this);
    return TF_Dim(tensor.get(), from);
  }
  int rank() const { return TF_NumDims(tensor.get()); }
  int64_t size() const { return TF_TensorElementCount(tensor.get()); }
  /** Rows of a matrix with the last axis as columns. */
  int64_t rows() const { return dim(-1) == 0 ? 0 : size() / dim(-1); }
  Shape shape() const {
    Shape result;
    for (int axis = 0; axis < rank(); axis++) result.push_back(dim(axis));
    return result;
  }
  TF_DataType type() const { return TF_TensorType(tensor.get()); }
  const void *data() const { return TF_TensorData(tensor.get()); }
  float *floats() const { return values<float>(TF_FLOAT); }
  int32_t *ints() const { return values<int32_t>(TF_INT32); }
  float scalar() const {
    require(size() == 1, "expected a scalar, found shape ", *this);
    return *floats();
  }
  TF_Tensor *get() const { return tensor.get(); }

private:
  template <class T> T *values(TF_DataType expected) const {
    require(type() == expected, "expected a tensor of type ", expected, ", found ", type());
    return static_cast<T *>(TF_TensorData(tensor.get()));
  }

  std::unique_ptr<TF_Tensor, decltype(&TF_DeleteTensor)> tensor;
};

inline std::string shown(const Tensor &tensor) { return shown(tensor.shape()); }

/** One run of a kernel. */
class Call {
public:
  explicit Call(TF_OpKernelContext *context) : context(context), status(newStatus()) {}

  int inputs() const { return TF_NumInputs(context); }

  Tensor input(int index) const {
    TF_Tensor *tensor = nullptr;
    TF_GetInput(context, index, &tensor, status.get());
    check(status);
    return Tensor(tensor);
  }

  Tensor output(int index, const Shape &shape, TF_DataType type = TF_FLOAT) const {
    int64_t size = 1;
    for (const int64_t dim : shape) size *= dim;
    TF_Tensor *tensor = TF_AllocateOutput(context, index, type, shape.data(), static_cast<int>(shape.size()),
                                          size * TF_DataTypeSize(type), status.get());
    check(status);
    return Tensor(tensor);
  }

  /** Returns `tensor` itself, without a copy. */
  void forward(int index, const Tensor &tensor) const {
    TF_SetOutput(context, index, tensor.get(), status.get());
    check(status);
  }

private:
  TF_OpKernelContext *context;
  Status status;
};

/** The attributes of a kernel, read by its constructor. */
class Attributes {
public:
  explicit Attributes(TF_OpKernelConstruction *construction) : construction(construction) {}

  float number(const char *name) const {
    float value = 0;
    const Status status = newStatus();
    TF_OpKernelConstruction_GetAttrFloat(construction, name, &value, status.get());
    check(status);
    return value;
  }

  int64_t integer(const char *name) const {
    int64_t value = 0;
    const Status status = newStatus();
    TF_OpKernelConstruction_GetAttrInt64(construction, name, &value, status.get());
    check(status);
    return value;
  }

  bool flag(const char *name) const {
    TF_Bool value = 0;
    const Status status = newStatus();
    TF_OpKernelConstruction_GetAttrBool(construction, name, &value, status.get());
    check(status);
    return value != 0;
  }

private:
  TF_OpKernelConstruction *construction;
};

/** An op in the notation of TensorFlow's registry: `x: float`, `epsilon: float`. */
struct OpDefinition {
  const char *name;
  std::vector<const char *> inputs, outputs, attributes;
  /** Writes into the memory of an input, so it must run exactly once, even if its outputs are unused. */
  bool inPlace = false;
};

inline void registerOp(const OpDefinition &op) {
  TF_OpDefinitionBuilder *builder = TF_NewOpDefinitionBuilder(op.name);
  for (const char *attribute : op.attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (const char *input : op.inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (const char *output : op.outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  TF_OpDefinitionBuilderSetIsStateful(builder, op.inPlace);
  // The tracer knows all shapes, so TensorFlow needs none.
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, [](TF_ShapeInferenceContext *context, TF_Status *status) {
    TF_ShapeInferenceContextSetUnknownShape(context, status);
  });
  const Status status = newStatus();
  TF_RegisterOpDefinition(builder, status.get());
  check(status);
}

/** `Kernel` has `static OpDefinition op()`, a constructor from Attributes and `void compute(const Call &) const`. */
template <class Kernel> const char *registerKernel() {
  const OpDefinition op = Kernel::op();
  registerOp(op);
  const auto create = [](TF_OpKernelConstruction *construction) -> void * {
    try {
      return new Kernel(Attributes(construction));
    } catch (const std::exception &error) {
      const Status status = newStatus();
      TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, error.what());
      TF_OpKernelConstruction_Failure(construction, status.get());
      return nullptr;
    }
  };
  const auto compute = [](void *kernel, TF_OpKernelContext *context) {
    try {
      static_cast<const Kernel *>(kernel)->compute(Call(context));
    } catch (const std::exception &error) {
      const Status status = newStatus();
      TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, error.what());
      TF_OpKernelContext_Failure(context, status.get());
    }
  };
  const auto destroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
  TF_KernelBuilder *builder = TF_NewKernelBuilder(op.name, "CPU", create, compute, destroy);
  const Status status = newStatus();
  TF_RegisterKernelBuilder(op.name, builder, status.get());
  check(status);
  return op.name;
}
