#include "core/boxes/boxes.hpp"

#include <vector>

#include "core/boxes/iou.hpp"
#include "core/common.hpp"

namespace yf {
namespace {

// The second set, one array per field, so that the inner loop reads straight runs of memory.
template <typename T>
struct Columns {
    std::vector<T> x1, y1, x2, y2, area, angle;

    Columns(const T* boxes, std::size_t m, IouKind kind) : x1(m), y1(m), x2(m), y2(m), area(m), angle(m) {
        for (std::size_t j = 0; j < m; ++j) {
            const IouBox<T> box = read_iou_box(boxes + 4 * j, kind);
            x1[j] = box.x1;
            y1[j] = box.y1;
            x2[j] = box.x2;
            y2[j] = box.y2;
            area[j] = box.area;
            angle[j] = box.angle;
        }
    }
};

template <typename T, IouKind kind>
YF_INLINE void iou_row(const IouBox<T>& a, const T* x1, const T* y1, const T* x2, const T* y2, const T* area,
                       const T* angle, std::size_t m, T* out) {
    for (std::size_t j = 0; j < m; ++j) {
        out[j] = iou_value<T, kind>(a, {x1[j], y1[j], x2[j], y2[j], area[j], angle[j]});
    }
}

template <typename T>
YF_INLINE void iou_row_any(const IouBox<T>& a, const Columns<T>& b, std::size_t m, IouKind kind, T* out) {
    const T *x1 = b.x1.data(), *y1 = b.y1.data(), *x2 = b.x2.data(), *y2 = b.y2.data();
    const T *area = b.area.data(), *angle = b.angle.data();
    switch (kind) {
        case IouKind::kIou:
            return iou_row<T, IouKind::kIou>(a, x1, y1, x2, y2, area, angle, m, out);
        case IouKind::kGiou:
            return iou_row<T, IouKind::kGiou>(a, x1, y1, x2, y2, area, angle, m, out);
        case IouKind::kDiou:
            return iou_row<T, IouKind::kDiou>(a, x1, y1, x2, y2, area, angle, m, out);
        case IouKind::kCiou:
            return iou_row<T, IouKind::kCiou>(a, x1, y1, x2, y2, area, angle, m, out);
    }
}

// Two plain functions, because function multi-versioning does not apply to templates.
YF_MULTIVERSION
void iou_row_f32(const IouBox<float>& a, const Columns<float>& b, std::size_t m, IouKind kind, float* out) {
    iou_row_any<float>(a, b, m, kind, out);
}

YF_MULTIVERSION
void iou_row_f64(const IouBox<double>& a, const Columns<double>& b, std::size_t m, IouKind kind,
                 double* out) {
    iou_row_any<double>(a, b, m, kind, out);
}

template <typename T, IouKind kind>
void iou_each(const T* a, const T* b, std::size_t n, T* out) {
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = iou_value<T, kind>(read_iou_box(a + 4 * i, kind), read_iou_box(b + 4 * i, kind));
    }
}

template <typename T>
void iou_each_any(const T* a, const T* b, std::size_t n, IouKind kind, T* out) {
    switch (kind) {
        case IouKind::kIou:
            return iou_each<T, IouKind::kIou>(a, b, n, out);
        case IouKind::kGiou:
            return iou_each<T, IouKind::kGiou>(a, b, n, out);
        case IouKind::kDiou:
            return iou_each<T, IouKind::kDiou>(a, b, n, out);
        case IouKind::kCiou:
            return iou_each<T, IouKind::kCiou>(a, b, n, out);
    }
}

}  // namespace

void box_iou(const float* a, std::size_t n, const float* b, std::size_t m, IouKind kind, float* out) {
    const Columns<float> columns(b, m, kind);
    for (std::size_t i = 0; i < n; ++i)
        iou_row_f32(read_iou_box(a + 4 * i, kind), columns, m, kind, out + i * m);
}

void box_iou(const double* a, std::size_t n, const double* b, std::size_t m, IouKind kind, double* out) {
    const Columns<double> columns(b, m, kind);
    for (std::size_t i = 0; i < n; ++i)
        iou_row_f64(read_iou_box(a + 4 * i, kind), columns, m, kind, out + i * m);
}

void box_iou_elementwise(const float* a, const float* b, std::size_t n, IouKind kind, float* out) {
    iou_each_any(a, b, n, kind, out);
}

void box_iou_elementwise(const double* a, const double* b, std::size_t n, IouKind kind, double* out) {
    iou_each_any(a, b, n, kind, out);
}

}  // namespace yf
