// From a detector's raw output to detections, for a whole batch: the results of
// csrc/core/boxes/postprocess.hpp.
//
// Pointers are device memory. Nothing is allocated and nothing is waited for. How many launches there are,
// and of what size, depends on shapes and options alone, so a CUDA graph can hold them.
//
// One pass over `raw` lists the candidates; it is all that the floor asks for (images * (4 + classes) *
// anchors * 4 bytes; 90 MB for 32 images of 80 classes and 8400 anchors). Only images with more candidates
// than there is room for are read again: to find a score that leaves about `max_candidates`, and to list
// those above it. Then a block per image takes the best few thousand of its list, sorts them, and sweeps them
// 64 at a time against what is kept, until it has `max_det`. Candidates that are not reached are never
// sorted. If equal scores leave more than there is room for even then, the block reads them from `raw`:
// slower, the same result.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/boxes/postprocess.hpp"

namespace yf::cuda {

struct PostprocessShape {
    std::int64_t images, classes, anchors;
};

// Whether a launch can be as large as that shape asks for: classes * anchors below 2^31, and few enough
// images.
bool postprocess_fits(const PostprocessShape& shape);

// How many bytes postprocess needs.
std::size_t postprocess_workspace(const PostprocessShape& shape, const PostprocessOptions& options);

// raw [images, 4 + classes, anchors]. Writes boxes [images, max_det, 4] (aligned to 16 bytes), scores and
// labels [images, max_det], counts [images]; rows behind an image's count are zeros, their label -1.
// `options.wanted` is host memory and is not looked at after the return. The workspace is aligned to
// kWorkspaceAlign.
cudaError_t postprocess(const float* raw, const PostprocessShape& shape, const PostprocessOptions& options,
                        void* workspace, float* boxes, float* scores, std::int64_t* labels,
                        std::int64_t* counts, cudaStream_t stream);

}  // namespace yf::cuda
