// Users' own transforms of rendered samples, called by the thread that rendered the sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/common.hpp"

namespace yf {

// Changes a sample in place: `image` [3, height, width], `labels` [count, 5] class, xywhn. Returns how many
// of the labels are kept, which are the first ones, or kHookRaised.
using HookFunction = std::int64_t (*)(void* context, std::int64_t sample, std::uint8_t* image,
                                      std::int64_t height, std::int64_t width, float* labels,
                                      std::int64_t count, const double* draws);

constexpr std::int64_t kHookRaised = std::numeric_limits<std::int64_t>::min();

struct Hook {
    HookFunction function;
    void* context;
    std::size_t draws;  // random numbers that it takes
};

enum class HookError : std::int64_t { none = 0, raised, bad_count, bad_label };

// What became of a sample: the error of hook number `hook`, with the count or the row of the label in
// question.
struct HookOutcome {
    HookError error;
    std::int64_t hook, value;
};

// The hooks of a batch, and its samples' labels and random numbers. Arrays are borrowed until the batch is
// done; each sample's rows are touched by one thread only.
struct HookedSamples {
    std::vector<Hook> hooks;
    float* labels;                // [offsets[n], 5]
    const std::int64_t* offsets;  // [n + 1] where the labels of each sample begin
    std::int64_t* kept;           // [n] labels left, the first ones of each sample; at first all
    const double* draws;          // [n, draws of all hooks]
    std::int64_t classes;         // labels have classes 0..classes - 1
    HookOutcome* outcomes;        // [n]
};

// Runs the hooks on a rendered sample, one after the other, until one fails.
void run_hooks(HookedSamples& samples, std::size_t sample, const Planes& image);

}  // namespace yf
