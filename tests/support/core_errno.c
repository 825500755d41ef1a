/* Abseil 20240722 (Debian 13) names the memory that its locks map, which kernels without CONFIG_ANON_VMA_NAME (Debian's
 * own) refuse with EINVAL. The core 1.51 takes locks between connect() and its look at errno (grpc/grpc#35064), so that
 * a connection in progress now and then counts as failed: "Invalid argument". Evener does not prevent that
 * (docs/architecture.md, The gRPC transport); it would fail tests now and then. So a test program's prctl() keeps errno. */
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

__attribute__((visibility("default"))) int prctl(int option, ...)
{
    unsigned long of[4];
    va_list arguments;
    va_start(arguments, option);
    for (int i = 0; i < 4; i++) {
        of[i] = va_arg(arguments, unsigned long); /* registers, whether or not they were set */
    }
    va_end(arguments);
    const int error = errno;
    const long result = syscall(SYS_prctl, option, of[0], of[1], of[2], of[3]);
    if (option == PR_SET_VMA) {
        errno = error;
    }
    return (int)result;
}
