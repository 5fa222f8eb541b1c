// See hooks.hpp.
#include "core/pictures/hooks.hpp"

#include <cmath>

namespace yf {
namespace {

// Whether a label is one that training can take; a NaN fails every comparison.
bool is_label(const float* row, std::int64_t classes) {
    return row[0] >= 0 && row[0] < static_cast<float>(classes) && row[0] == std::floor(row[0]) &&
           std::isfinite(row[1]) && std::isfinite(row[2]) && row[3] >= 0 && std::isfinite(row[3]) &&
           row[4] >= 0 && std::isfinite(row[4]);
}

// The first of `count` labels that is none, or `count`.
std::int64_t first_bad(const float* labels, std::int64_t count, std::int64_t classes) {
    std::int64_t row = 0;
    while (row < count && is_label(labels + 5 * row, classes)) ++row;
    return row;
}

}  // namespace

void run_hooks(HookedSamples& samples, std::size_t sample, const Planes& image) {
    std::size_t drawn = 0;
    for (const Hook& hook : samples.hooks) drawn += hook.draws;
    const double* draws = samples.draws + drawn * sample;
    float* labels = samples.labels + 5 * samples.offsets[sample];
    std::int64_t count = samples.kept[sample];
    for (std::size_t i = 0; i < samples.hooks.size(); ++i) {
        const Hook& hook = samples.hooks[i];
        const std::int64_t kept = hook.function(hook.context, static_cast<std::int64_t>(sample), image.data,
                                                image.height, image.width, labels, count, draws);
        HookOutcome outcome{HookError::none, static_cast<std::int64_t>(i), kept};
        if (kept == kHookRaised) {
            outcome.error = HookError::raised;
        } else if (kept < 0 || kept > count) {
            outcome.error = HookError::bad_count;
        } else {
            outcome.value = first_bad(labels, kept, samples.classes);
            if (outcome.value < kept) outcome.error = HookError::bad_label;
        }
        samples.outcomes[sample] = outcome;
        if (outcome.error != HookError::none) return;
        samples.kept[sample] = count = kept;
        draws += hook.draws;
    }
}

}  // namespace yf
