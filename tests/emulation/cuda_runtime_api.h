// Takes the place of CUDA's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include "emulation.hpp"
