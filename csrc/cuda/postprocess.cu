#include <algorithm>
#include <limits>

#include "cuda/candidates.hpp"
#include "cuda/collect.hpp"
#include "cuda/launch.hpp"
#include "cuda/postprocess.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = kSelectThreads;
constexpr unsigned kChunk = 2048;  // entries that a block sorts at a time
constexpr Entry kNoEntry = ~Entry{0};
constexpr std::int64_t kSlack = 32768;  // see room_of()

// Where a block writes its image's detections; [max_det] rows.
struct Rows {
    float4* boxes;
    float* scores;
    std::int64_t* labels;
};

struct Sweep {
    float limit;  // of the IoU
    bool agnostic;
    std::int64_t max_det;
    float4* boxes;
    float* scores;
    std::int64_t *labels, *counts;
};

// --- the classes asked for, as kernel arguments: a copy from host memory would have to wait, or outlive the
// call

constexpr int kWords = 512;  // per launch, 32 classes each
struct ClassBits {
    std::uint32_t words[kWords];
};

__global__ void __launch_bounds__(kWords) store_wanted(ClassBits bits, int count, std::uint32_t* out) {
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < count) out[thread] = bits.words[thread];
}

cudaError_t launch_wanted(const std::uint8_t* wanted, unsigned classes, std::uint32_t* out,
                          cudaStream_t stream) {
    for (unsigned first = 0; first < classes; first += kWords * 32) {
        ClassBits bits{};
        const unsigned here = std::min(classes - first, kWords * 32u);
        for (unsigned k = 0; k < here; ++k)
            bits.words[k / 32] |= std::uint32_t{wanted[first + k] != 0} << (k % 32);
        const int words = static_cast<int>(blocks_of(here, 32));
        const cudaError_t status = launch(store_wanted, 1, kWords, stream, bits, words, out + first / 32);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

// --- the next best entries

// All entries of an image, in no order: its list, or where that had too little room, the scores themselves.
class Entries {
  public:
    __device__ Entries(const Batch& batch, unsigned image)
        : batch_(batch),
          raw_(image_of(batch, image)),
          list_(batch.lists + std::size_t{image} * batch.room),
          count_(batch.totals[image]),
          floor_(count_ > batch.room ? batch.floors[image] : 0) {}

    __device__ unsigned count() const { return count_; }

    // Calls use(entry) once for each, by one of the block's threads.
    template <typename Use>
    __device__ void each(const Use& use) const {
        if (count_ <= batch_.room) {
#pragma unroll 4
            for (unsigned i = threadIdx.x; i < count_; i += kThreads) use(list_[i]);
            return;
        }
        for (unsigned label = 0; label < batch_.classes; ++label) {
            if (!is_wanted(batch_, label)) continue;
            const float* const scores = raw_ + std::size_t{4 + label} * batch_.anchors;
            for (unsigned anchor = threadIdx.x; anchor < batch_.anchors; anchor += kThreads) {
                const float score = scores[anchor];
                if (score > batch_.conf && bits_of(score) >= floor_ && is_usable(batch_, raw_, anchor))
                    use(entry_of(batch_, score, anchor, label));
            }
        }
    }

  private:
    const Batch& batch_;
    const float* raw_;
    const Entry* list_;
    unsigned count_, floor_;
};

// Where a run from `begin` ends that has at most kChunk entries, and at least half as many: more than kChunk
// are there. The range is cut into bins of one width; the bin that would be too much is cut again.
__device__ Entry find_end(const Entries& entries, float conf, Entry begin, unsigned* bins) {
    const Entry one = Entry{descending_key(1.0f)} << 32;
    Entry end = Entry{descending_key(conf)} << 32;
    // Few scores are above 1, usually none: the first bin holds them too.
    Entry low = begin < one && one < end ? one : begin;
    unsigned taken = 0;
    for (;;) {
        const int digits = 64 - __clzll(static_cast<long long>(end - 1 - low));
        const int shift = max(digits - 11, 0);
        for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) bins[bin] = 0;
        __syncthreads();
        entries.each([&](Entry entry) {
            if (entry < begin || entry >= end) return;
            atomicAdd(&bins[entry < low ? 0 : (entry - low) >> shift], 1u);
        });
        __syncthreads();
        const Fitting fitting = fitting_bins(bins, kChunk - taken);
        if (fitting.bins == kBins) return end;
        taken += fitting.entries;
        const Entry cut = fitting.bins == 0 ? begin : low + (Entry{fitting.bins} << shift);
        if (taken >= kChunk / 2 || shift == 0) return cut;
        end = min(end, low + (Entry{fitting.bins + 1} << shift));
        low = begin = cut;
    }
}

// Bitonic; `size` is a power of two.
__device__ void sort_shared(Entry* entries, unsigned size) {
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            for (unsigned pair = threadIdx.x; pair < size / 2; pair += kThreads) {
                const unsigned i = 2 * pair - (pair & (step - 1));
                const Entry a = entries[i], b = entries[i + step];
                if ((a > b) == ((i & run) == 0)) {
                    entries[i] = b;
                    entries[i + step] = a;
                }
            }
            __syncthreads();
        }
    }
}

// The entries of [begin, end), at most kChunk, in order; their number.
__device__ unsigned load_chunk(const Entries& entries, Entry begin, Entry end, Entry* chunk) {
    __shared__ unsigned found;
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
    entries.each([&](Entry entry) {
        if (entry < begin || entry >= end) return;
        const unsigned place = atomicAdd(&found, 1u);
        if (place < kChunk) chunk[place] = entry;
    });
    __syncthreads();
    const unsigned count = min(found, kChunk);
    unsigned size = 1;
    while (size < count) size *= 2;
    for (unsigned i = count + threadIdx.x; i < size; i += kThreads) chunk[i] = kNoEntry;
    __syncthreads();
    sort_shared(chunk, size);
    return count;
}

// --- NMS

// A box that cannot overlap any other is replaced by an empty one.
__device__ Box suppressor(float4 corners) {
    const Box box = box_of(corners);
    return can_overlap(box) ? box : Box{0, 0, 0, 0, 0};
}

// The next `here` (at most kBits) candidates, best first, against the `kept` ones and one another; those that
// stay are written behind the kept ones, whose new number is returned.
__device__ std::int64_t sweep_word(const Batch& batch, const Sweep& sweep, const float* raw,
                                   const Entry* chunk, int here, const Rows& rows, std::int64_t kept) {
    constexpr int kParts = kThreads / kBits;  // threads per candidate
    __shared__ float4 corners[kBits];
    __shared__ Box boxes[kBits];
    __shared__ unsigned labels[kBits];
    __shared__ Word overlaps[kBits];  // bit k of [i]: i, if kept, suppresses k
    __shared__ Word out, stays;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) out = 0;
    if (thread < here) {
        corners[thread] = corners_of(batch, raw, chunk[thread]);
        boxes[thread] = suppressor(corners[thread]);
        labels[thread] = static_cast<unsigned>(chunk[thread]) % batch.classes;
        overlaps[thread] = 0;
    }
    __syncthreads();
    const int i = thread / kParts, part = thread % kParts;
    if (i < here) {
        const Box box = boxes[i];
        const unsigned label = labels[i];
        for (std::int64_t k = part; k < kept; k += kParts) {
            if (!sweep.agnostic && rows.labels[k] != label) continue;
            if (!overlap_too_much(suppressor(rows.boxes[k]), box, sweep.limit)) continue;
            atomicOr(&out, Word{1} << i);
            break;
        }
        Word bits = 0;
        for (int k = part; k < here; k += kParts) {
            if (k <= i || (!sweep.agnostic && labels[k] != label)) continue;
            if (overlap_too_much(box, boxes[k], sweep.limit)) bits |= Word{1} << k;
        }
        if (bits != 0) atomicOr(&overlaps[i], bits);
    }
    __syncthreads();
    if (thread == 0) stays = survivors((here < kBits ? (Word{1} << here) - 1 : ~Word{0}) & ~out, overlaps);
    __syncthreads();
    const Word all = stays;
    if (thread < here && (all >> thread & 1) != 0) {
        const std::int64_t place = kept + __popcll(all & ((Word{1} << thread) - 1));
        if (place < sweep.max_det) {
            rows.boxes[place] = corners[thread];
            rows.scores[place] = score_of_key(static_cast<unsigned>(chunk[thread] >> 32));
            rows.labels[place] = labels[thread];
        }
    }
    __syncthreads();  // what is kept is seen by all, and shared memory is free again
    const std::int64_t now = kept + __popcll(all);
    return now < sweep.max_det ? now : sweep.max_det;
}

// A block per image: takes its candidates in turn until max_det are kept.
__global__ void __launch_bounds__(kThreads, 1) sweep_image(Batch batch, Sweep sweep) {
    __shared__ Entry chunk[kChunk];
    __shared__ unsigned bins[kBins];
    const unsigned image = blockIdx.x;
    const std::size_t first = static_cast<std::size_t>(sweep.max_det) * image;
    const Rows rows{sweep.boxes + first, sweep.scores + first, sweep.labels + first};
    const float* const raw = image_of(batch, image);
    const Entries entries(batch, image);
    const unsigned count = min(entries.count(), batch.max_candidates);
    std::int64_t kept = 0;
    Entry begin = 0;
    for (unsigned seen = 0; seen < count && kept < sweep.max_det;) {
        const bool many = entries.count() - seen > kChunk;
        const Entry end = many ? find_end(entries, batch.conf, begin, bins) : kNoEntry;
        const unsigned loaded = load_chunk(entries, begin, end, chunk);
        if (loaded == 0) break;  // `raw` is being written to meanwhile
        const unsigned counting = min(loaded, count - seen);
        for (unsigned i = 0; i < counting && kept < sweep.max_det; i += kBits) {
            const int here = static_cast<int>(min(counting - i, static_cast<unsigned>(kBits)));
            kept = sweep_word(batch, sweep, raw, chunk + i, here, rows, kept);
        }
        seen += loaded;
        begin = end;
    }
    for (std::int64_t i = kept + threadIdx.x; i < sweep.max_det; i += kThreads) {
        rows.boxes[i] = {0, 0, 0, 0};
        rows.scores[i] = 0;
        rows.labels[i] = -1;
    }
    if (threadIdx.x == 0) sweep.counts[image] = kept;
}

// --- memory

// Entries of an image's list. More than max_candidates, so that most images need reading once, and so that
// the scores of one more bin have room.
std::int64_t room_of(const PostprocessShape& shape, const PostprocessOptions& options, bool every) {
    if (!every) return shape.anchors;
    const std::int64_t all = shape.classes * shape.anchors;
    return std::min(all, 2 * std::min(static_cast<std::int64_t>(options.max_candidates), all) + kSlack);
}

std::size_t lay_out(const PostprocessShape& shape, const PostprocessOptions& options, void* workspace,
                    Batch* batch, std::uint32_t** wanted) {
    const bool every = options.multi_label || shape.classes == 1;
    const std::int64_t room = room_of(shape, options, every);
    const auto images = static_cast<std::size_t>(shape.images);
    Workspace parts(workspace);
    *wanted = parts.take<std::uint32_t>(static_cast<std::size_t>(shape.classes) / 32 + 1);
    batch->images = static_cast<unsigned>(shape.images);
    batch->classes = static_cast<unsigned>(shape.classes);
    batch->anchors = static_cast<unsigned>(shape.anchors);
    batch->every = every;
    batch->room = static_cast<unsigned>(room);
    batch->lists = parts.take<Entry>(images * static_cast<std::size_t>(room));
    batch->totals = parts.take<unsigned>(images);
    batch->again = parts.take<unsigned>(images);
    batch->floors = parts.take<unsigned>(images);
    batch->bins = parts.take<unsigned>(images * kBins);
    return parts.used();
}

}  // namespace

bool postprocess_fits(const PostprocessShape& shape) {
    constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
    if (shape.images > kMax || shape.classes > kMax || shape.anchors > kMax) return false;
    if (shape.classes * shape.anchors > kMax) return false;
    const std::int64_t blocks = collect_blocks(1, shape.classes, shape.anchors);
    return shape.images <= kMax / std::max<std::int64_t>(blocks, 1);
}

std::size_t postprocess_workspace(const PostprocessShape& shape, const PostprocessOptions& options) {
    Batch batch;
    std::uint32_t* wanted = nullptr;
    return lay_out(shape, options, nullptr, &batch, &wanted);
}

cudaError_t postprocess(const float* raw, const PostprocessShape& shape, const PostprocessOptions& options,
                        void* workspace, float* boxes, float* scores, std::int64_t* labels,
                        std::int64_t* counts, cudaStream_t stream) {
    if (shape.images == 0) return cudaSuccess;
    Batch batch;
    std::uint32_t* wanted = nullptr;
    lay_out(shape, options, workspace, &batch, &wanted);
    batch.raw = raw;
    batch.wanted = options.wanted != nullptr ? wanted : nullptr;
    batch.conf = options.conf;
    constexpr std::size_t kMax = std::numeric_limits<std::int32_t>::max();
    batch.max_candidates = static_cast<unsigned>(std::min(options.max_candidates, kMax));
    if (options.wanted != nullptr) {
        const cudaError_t status = launch_wanted(options.wanted, batch.classes, wanted, stream);
        if (status != cudaSuccess) return status;
    }
    const cudaError_t status = collect_candidates(batch, stream);
    if (status != cudaSuccess) return status;
    const Sweep sweep{floor_to_float(options.iou),
                      options.agnostic,
                      static_cast<std::int64_t>(options.max_det),
                      reinterpret_cast<float4*>(boxes),
                      scores,
                      labels,
                      counts};
    return launch(sweep_image, batch.images, kThreads, stream, batch, sweep);
}

}  // namespace yf::cuda
