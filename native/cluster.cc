/**
 * @file Runs TensorFlow's own server, so that sessions of other processes can compute here. Anyone who can connect to
 * its port can run any graph, so it listens on one address only. A process that disappears without closing its
 * connections, for example because its machine lost power, is detected after half a minute.
 */
#include "cluster.h"

#include "tensorflow.h"
#include "tensorflow/c/c_api.h"

#if defined(__linux__) && defined(__GLIBC__)
#include <arpa/inet.h>
#include <elf.h>
#include <link.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace {

/** The address on which the server that is being created may listen. */
thread_local in_addr listening{INADDR_ANY};

/**
 * Makes the operating system probe the other end of an idle connection, and close it after 30 seconds without an
 * answer. gRPC has probes of its own, but servers disconnect a client that sends more than one every five minutes. The
 * operating system at the other end also answers for processes that are stopped or busy.
 */
void noticeLoss(int socket) {
  const auto set = [socket](int level, int option, int value) {
    setsockopt(socket, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  // The same for data that was sent but not acknowledged.
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

/** Replaces `connect` in TensorFlow. */
int connectAndNotice(int socket, const sockaddr *address, socklen_t length) {
  noticeLoss(socket);
  return connect(socket, address, length);
}

/** Replaces `bind` in TensorFlow, whose server asks for all addresses of the machine: it gets `listening`. */
int bindToOne(int socket, const sockaddr *address, socklen_t length) {
  noticeLoss(socket); // accepted connections inherit it
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in one = *reinterpret_cast<const sockaddr_in *>(address);
    if (one.sin_addr.s_addr == INADDR_ANY) one.sin_addr = listening;
    return bind(socket, reinterpret_cast<const sockaddr *>(&one), sizeof one);
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6) && listening.s_addr != INADDR_ANY) {
    sockaddr_in6 one = *reinterpret_cast<const sockaddr_in6 *>(address);
    if (IN6_IS_ADDR_UNSPECIFIED(&one.sin6_addr)) {
      // ::ffff:a.b.c.d, the address at which a socket for IPv4 and IPv6 listens on an IPv4 address.
      one.sin6_addr.s6_addr[10] = one.sin6_addr.s6_addr[11] = 0xff;
      memcpy(one.sin6_addr.s6_addr + 12, &listening, sizeof listening);
    }
    return bind(socket, reinterpret_cast<const sockaddr *>(&one), sizeof one);
  }
  return bind(socket, address, length);
}

struct Replacement {
  const char *name;
  void *function;
};
const Replacement replacements[] = {{"bind", reinterpret_cast<void *>(bindToOne)},
                                    {"connect", reinterpret_cast<void *>(connectAndNotice)}};

/** Replaces the imported functions in one of TensorFlow's libraries. `count`: the replaced imports of `bind`. */
int redirect(dl_phdr_info *library, size_t, void *count) {
  if (strstr(library->dlpi_name, "libtensorflow") == nullptr) return 0;
  const ElfW(Dyn) *entry = nullptr;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) &header = library->dlpi_phdr[i];
    if (header.p_type == PT_DYNAMIC) entry = reinterpret_cast<ElfW(Dyn) *>(library->dlpi_addr + header.p_vaddr);
  }
  const ElfW(Sym) *symbols = nullptr;
  const char *names = nullptr;
  const ElfW(Rela) *imports = nullptr;
  size_t bytes = 0;
  for (; entry != nullptr && entry->d_tag != DT_NULL; entry++) {
    if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym) *>(entry->d_un.d_ptr);
    if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char *>(entry->d_un.d_ptr);
    if (entry->d_tag == DT_JMPREL) imports = reinterpret_cast<const ElfW(Rela) *>(entry->d_un.d_ptr);
    if (entry->d_tag == DT_PLTRELSZ) bytes = entry->d_un.d_val;
  }
  if (symbols == nullptr || names == nullptr || imports == nullptr) return 0;
  for (size_t i = 0; i < bytes / sizeof *imports; i++) {
    const char *name = names + symbols[ELF64_R_SYM(imports[i].r_info)].st_name;
    const Replacement *replacement =
        std::find_if(std::begin(replacements), std::end(replacements),
                     [name](const Replacement &each) { return strcmp(name, each.name) == 0; });
    if (replacement == std::end(replacements)) continue;
    void **slot = reinterpret_cast<void **>(library->dlpi_addr + imports[i].r_offset);
    const auto page = reinterpret_cast<uintptr_t>(slot) & ~static_cast<uintptr_t>(sysconf(_SC_PAGESIZE) - 1);
    // The table of imports may have become read-only after loading.
    if (mprotect(reinterpret_cast<void *>(page), sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE) != 0) continue;
    *slot = replacement->function;
    if (replacement == replacements) *static_cast<int *>(count) += 1;
  }
  return 0;
}

void listenOn(const std::string &address) {
  require(inet_pton(AF_INET, address.c_str(), &listening) == 1, "expected an IPv4 address, found ", address.c_str());
  static const int redirected = [] {
    int count = 0;
    dl_iterate_phdr(redirect, &count);
    return count;
  }();
  require(redirected > 0 || listening.s_addr == INADDR_ANY,
          "this build of TensorFlow listens on all addresses or none; use 0.0.0.0");
}

} // namespace
#else
namespace {
void listenOn(const std::string &address) {
  require(address == "0.0.0.0", "outside Linux, TensorFlow listens on all addresses or none; use 0.0.0.0");
}
} // namespace
#endif

namespace {

/** (serverDef: Uint8Array, address: string) -> target: starts a server on `address` that runs until the process ends.
 */
napi_value serve(const Js &js, const napi_value *arguments) {
  const Js::Array definition = js.typedArray(arguments[0]);
  listenOn(js.text(arguments[1]));
  const Status status = newStatus();
  // Never deleted: TensorFlow cannot stop a server, and aborts the process when asked to.
  TF_Server *server = TF_NewServer(definition.data, definition.length, status.get());
  check(status);
  TF_ServerStart(server, status.get());
  check(status);
  return js.text(TF_ServerTarget(server));
}

} // namespace

void exportCluster(const Js &js, napi_value exports) { js.define<serve, 2>(exports, "serve"); }
