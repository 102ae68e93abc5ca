/* Tangled from chapters/10-kernels.md; edit there. */
#include "device.h"
#include "fail.h"

#include <string.h>

/* Do without CUDA */
__attribute__((weak)) bool kernels_cuda_found(void)
{
    return false;
}

__attribute__((weak)) const struct kernels *kernels_cuda(bool fp16)
{
    fail(fp16 ? "cuda" : "cuda-fp32",
         "this program was built without CUDA, for there was no nvcc");
}

const struct kernels *device_open(const char *device)
{
    bool automatic = !strcmp(device, "auto");
    if (!strcmp(device, "cpu") || (automatic && !kernels_cuda_found()))
        return kernels_cpu();
    if (!strcmp(device, "cuda") || automatic)
        return kernels_cuda(true);
    if (!strcmp(device, "cuda-fp32"))
        return kernels_cuda(false);
    fail(device,
         "is not a device of this program; expected cpu, cuda, cuda-fp32 or auto");
}

/* Say whether a device is elsewhere */
bool device_away(const char *device)
{
    bool named = !strcmp(device, "cuda") || !strcmp(device, "cuda-fp32");
    return named && !kernels_cuda_found();
}
