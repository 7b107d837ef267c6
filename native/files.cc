/**
 * @file Reserves the blocks of a file before it is written. In ext4 and XFS, direct writes past the end of a file
 * or into holes wait for each other. Writes to reserved blocks run at the same time, so the disk never waits for the
 * next one.
 */
#include "files.h"

#if defined(__linux__)
#include <fcntl.h>

namespace {

/** (fd: number, bytes: number) -> boolean */
napi_value reserve(const Js &js, const napi_value *arguments) {
  const int fd = static_cast<int>(js.integer(arguments[0]));
  return js.boolean(fallocate(fd, 0, 0, static_cast<off_t>(js.integer(arguments[1]))) == 0);
}

} // namespace

void exportFiles(const Js &js, napi_value exports) { js.define<reserve, 2>(exports, "reserve"); }
#else
void exportFiles(const Js &, napi_value) {}
#endif
