// IoU and its relatives of one pair of boxes: the arithmetic that `boxes.cpp` and csrc/cuda share.
//
// IoU: intersection over union. GIoU: arXiv 1902.09630. DIoU and CIoU: arXiv 1911.08287. Each operation is
// rounded to T by itself, so whoever compiles this must not contract products and sums.
#pragma once

#include <cmath>
#include <limits>

#include "core/boxes/boxes.hpp"
#include "core/common.hpp"

namespace yf {

template <typename T>
YF_HOST_DEVICE YF_INLINE T smaller(T a, T b) {
    return b < a ? b : a;
}

template <typename T>
YF_HOST_DEVICE YF_INLINE T larger(T a, T b) {
    return a < b ? b : a;
}

template <typename T>
struct IouBox {
    T x1, y1, x2, y2, area, angle;
};

// Only CIoU asks for the angle; it costs more than the rest of an IoU.
template <typename T>
YF_HOST_DEVICE inline IouBox<T> read_iou_box(const T* p, IouKind kind) {
    const T x2 = larger(p[0], p[2]);
    const T y2 = larger(p[1], p[3]);
    T area = (x2 - p[0]) * (y2 - p[1]);
    // min and max can swallow a NaN; an area that is NaN cannot be missed.
    if (std::isnan(p[0]) || std::isnan(p[1]) || std::isnan(p[2]) || std::isnan(p[3]))
        area = std::numeric_limits<T>::quiet_NaN();
    T angle = 0;
    if (kind == IouKind::kCiou) {
        angle = static_cast<T>(std::atan2(static_cast<double>(x2 - p[0]), static_cast<double>(y2 - p[1])));
    }
    return {p[0], p[1], x2, y2, area, angle};
}

template <typename T, IouKind kind>
YF_HOST_DEVICE YF_INLINE T iou_value(const IouBox<T>& a, const IouBox<T>& b) {
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

}  // namespace yf
