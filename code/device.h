/* Tangled from chapters/10-kernels.md; edit there. */
#ifndef DEVICE_H
#define DEVICE_H

#include "kernels.h"

/* device_open: the table of a device, to keep until the program ends. device: "cpu";
   "cuda", a GPU in fp16; "cuda-fp32", a GPU in fp32; or "auto", "cuda" if this program
   has it and a GPU is there, else "cpu". Fails, naming the device, if it cannot be
   had. device_away: whether it would fail because a GPU, asked for by name, is not
   here. */
const struct kernels *device_open(const char *device);
bool device_away(const char *device);

/* kernels_cpu, kernels_cuda: the tables behind it. kernels_cuda fails, saying what is
   missing, where no GPU can be used; kernels_cuda_found tells beforehand. */
const struct kernels *kernels_cpu(void);
const struct kernels *kernels_cuda(bool fp16);
bool kernels_cuda_found(void);

#endif
