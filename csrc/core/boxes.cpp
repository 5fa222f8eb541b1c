#include "boxes.hpp"

#include <cmath>
#include <vector>

#include "common.hpp"

namespace yf {
namespace {

template <typename T>
inline __attribute__((always_inline)) T smaller(T a, T b) {
    return b < a ? b : a;
}

template <typename T>
inline __attribute__((always_inline)) T larger(T a, T b) {
    return a < b ? b : a;
}

template <typename T>
struct Box {
    T x1, y1, x2, y2, area, angle;
};

// Only CIoU asks for the angle; it costs more than the rest of an IoU.
template <typename T>
inline Box<T> read_box(const T* p, IouKind kind) {
    const T x2 = larger(p[0], p[2]);
    const T y2 = larger(p[1], p[3]);
    T area = (x2 - p[0]) * (y2 - p[1]);
    // min and max can swallow a NaN; an area that is NaN cannot be missed.
    if (std::isnan(p[0]) || std::isnan(p[1]) || std::isnan(p[2]) || std::isnan(p[3])) area = std::nan("");
    T angle = 0;
    if (kind == IouKind::kCiou) {
        angle = static_cast<T>(std::atan2(static_cast<double>(x2 - p[0]), static_cast<double>(y2 - p[1])));
    }
    return {p[0], p[1], x2, y2, area, angle};
}

// The second set, one array a field, so that the inner loop reads straight runs of memory.
template <typename T>
struct Columns {
    std::vector<T> x1, y1, x2, y2, area, angle;

    Columns(const T* boxes, std::size_t m, IouKind kind) : x1(m), y1(m), x2(m), y2(m), area(m), angle(m) {
        for (std::size_t j = 0; j < m; ++j) {
            const Box<T> box = read_box(boxes + 4 * j, kind);
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
inline __attribute__((always_inline)) T iou_value(const Box<T>& a, const Box<T>& b) {
    constexpr T kZero = 0;
    constexpr T kOne = 1;
    const T w = larger(smaller(a.x2, b.x2) - larger(a.x1, b.x1), kZero);
    const T h = larger(smaller(a.y2, b.y2) - larger(a.y1, b.y1), kZero);
    const T inter = w * h;
    const T uni = a.area + b.area - inter;
    // Divide always and choose afterwards: a branch would keep the loop scalar.
    const T ratio = inter / (uni > kZero ? uni : kOne);
    T value = uni > kZero ? ratio : kZero;
    if constexpr (kind != IouKind::kIou) {
        const T cw = larger(a.x2, b.x2) - smaller(a.x1, b.x1);
        const T ch = larger(a.y2, b.y2) - smaller(a.y1, b.y1);
        if constexpr (kind == IouKind::kGiou) {
            const T hull = cw * ch;
            const T gap = (hull - uni) / (hull > kZero ? hull : kOne);
            value -= hull > kZero ? gap : kZero;
        } else {
            const T dx = (a.x1 + a.x2) - (b.x1 + b.x2);
            const T dy = (a.y1 + a.y2) - (b.y1 + b.y2);
            const T diagonal = cw * cw + ch * ch;
            const T distance = (dx * dx + dy * dy) / 4 / (diagonal > kZero ? diagonal : kOne);
            const T iou = value;
            value -= diagonal > kZero ? distance : kZero;
            if constexpr (kind == IouKind::kCiou) {
                constexpr T kFourOverPiSquared = static_cast<T>(0.40528473456935108577551785283891);
                const T turn = b.angle - a.angle;
                const T v = kFourOverPiSquared * (turn * turn);
                const T weight = kOne - iou + v;
                const T penalty = v * v / (weight > kZero ? weight : kOne);
                value -= weight > kZero ? penalty : kZero;
            }
        }
        // An empty union is not the only way to nonsense here: infinity minus infinity is another.
        value = value == value && a.area + b.area >= kZero ? value : kZero;
    }
    return value;
}

template <typename T, IouKind kind>
inline __attribute__((always_inline)) void iou_row(const Box<T>& a, const T* x1, const T* y1, const T* x2,
                                                   const T* y2, const T* area, const T* angle, std::size_t m,
                                                   T* out) {
    for (std::size_t j = 0; j < m; ++j) {
        out[j] = iou_value<T, kind>(a, {x1[j], y1[j], x2[j], y2[j], area[j], angle[j]});
    }
}

template <typename T>
inline __attribute__((always_inline)) void iou_row_any(const Box<T>& a, const Columns<T>& b, std::size_t m,
                                                       IouKind kind, T* out) {
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
void iou_row_f32(const Box<float>& a, const Columns<float>& b, std::size_t m, IouKind kind, float* out) {
    iou_row_any<float>(a, b, m, kind, out);
}

YF_MULTIVERSION
void iou_row_f64(const Box<double>& a, const Columns<double>& b, std::size_t m, IouKind kind, double* out) {
    iou_row_any<double>(a, b, m, kind, out);
}

template <typename T, IouKind kind>
void iou_each(const T* a, const T* b, std::size_t n, T* out) {
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = iou_value<T, kind>(read_box(a + 4 * i, kind), read_box(b + 4 * i, kind));
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
    for (std::size_t i = 0; i < n; ++i) iou_row_f32(read_box(a + 4 * i, kind), columns, m, kind, out + i * m);
}

void box_iou(const double* a, std::size_t n, const double* b, std::size_t m, IouKind kind, double* out) {
    const Columns<double> columns(b, m, kind);
    for (std::size_t i = 0; i < n; ++i) iou_row_f64(read_box(a + 4 * i, kind), columns, m, kind, out + i * m);
}

void box_iou_elementwise(const float* a, const float* b, std::size_t n, IouKind kind, float* out) {
    iou_each_any(a, b, n, kind, out);
}

void box_iou_elementwise(const double* a, const double* b, std::size_t n, IouKind kind, double* out) {
    iou_each_any(a, b, n, kind, out);
}

}  // namespace yf
