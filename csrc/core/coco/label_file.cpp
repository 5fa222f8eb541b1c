#include "core/coco/label_file.hpp"

#include <string_view>

#include "core/coco/json.hpp"

namespace yf::coco {
namespace {

bool starts_number(char c) { return (c >= '0' && c <= '9') || c == '-' || c == 'N' || c == 'I'; }

// Takes four numbers in brackets if these are next. Otherwise it may have taken a part of what is there.
bool take_box(Json& json, double* out) {
    if (!json.take('[')) return false;
    for (int i = 0; i < 4; ++i) {
        if (i > 0 && !json.take(',')) return false;
        if (!starts_number(json.peek())) return false;
        out[i] = json.number();
    }
    return json.take(']');
}

// Takes 0, 1, true, false or null if one is next.
bool take_flag(Json& json, bool& value) {
    std::int64_t number = 0;
    if (json.whole(number)) {
        value = number != 0;
        return true;
    }
    const char first = json.peek();
    if (first != 't' && first != 'f' && first != 'n') return false;
    value = json.flag();
    return true;
}

class Reader {
  public:
    Reader(const char* data, std::size_t size) : data_(data), size_(size), json_(data, size) {}

    LabelFile read() {
        bool has_images = false, has_annotations = false;
        json_.expect('{');
        for (bool first = true; json_.next('}', first);) {
            const std::string_view name = json_.key(scratch_);
            if (name == "images") {
                LabelFile fresh;  // of equal keys the last counts
                images_ = std::move(fresh);
                has_images = read_list([this] { read_image(); });
            } else if (name == "annotations") {
                LabelFile fresh;
                annotations_ = std::move(fresh);
                has_annotations = read_list([this] { read_annotation(); });
            } else if (name == "categories") {
                json_.peek();
                categories_.begin = json_.offset();
                json_.skip();
                categories_.end = json_.offset();
            } else {
                json_.skip();
            }
        }
        if (!json_.at_end()) json_.fail("the end of the file");
        LabelFile out = std::move(annotations_);
        out.images = std::move(images_.images);
        out.file_names = std::move(images_.file_names);
        out.name_ends = std::move(images_.name_ends);
        out.sizes = std::move(images_.sizes);
        out.unusual_images = std::move(images_.unusual_images);
        out.categories = categories_;
        out.missing = !has_images ? "images" : !has_annotations ? "annotations" : "";
        return out;
    }

  private:
    // False, with the value skipped, when it is no list of objects.
    template <typename Element>
    bool read_list(const Element& element) {
        if (json_.peek() != '[') {
            json_.skip();
            return false;
        }
        bool objects = true;
        json_.expect('[');
        for (bool first = true; json_.next(']', first);) {
            if (json_.peek() == '{') {
                element();
            } else {
                json_.skip();
                objects = false;
            }
        }
        return objects;
    }

    // Reads an object by member(name), which takes the value and says whether it is as usual. Otherwise the
    // object is skipped. Returns whether all of it was, and where it stands.
    template <typename Member>
    bool read_usual(Span& span, const Member& member) {
        json_.peek();
        span.begin = json_.offset();
        json_.expect('{');
        bool usual = true;
        for (bool first = true; usual && json_.next('}', first);) usual = member(json_.key(scratch_));
        if (!usual) {
            json_ = Json(data_, size_, span.begin);
            json_.skip();
        }
        span.end = json_.offset();
        return usual;
    }

    void read_image() {
        LabelFile& out = images_;
        bool has_id = false, has_name = false;
        std::int64_t id = 0, width = -1, height = -1;
        Span span;
        const bool usual = read_usual(span, [&](std::string_view name) {
            if (name == "id") return has_id = json_.whole(id);
            if (name == "width") return json_.whole(width);
            if (name == "height") return json_.whole(height);
            if (name == "file_name") {
                has_name = json_.peek() == '"';
                if (has_name) name_ = json_.string(text_);
                return has_name;
            }
            json_.skip();
            return true;
        });
        if (!usual || !has_id || !has_name) {
            out.unusual_images.push_back({out.images.size(), span});
            id = width = height = 0;
            name_.clear();
        }
        out.images.push_back(id);
        out.file_names += name_;
        out.name_ends.push_back(static_cast<std::int64_t>(out.file_names.size()));
        out.sizes.push_back(width);
        out.sizes.push_back(height);
    }

    void read_annotation() {
        LabelFile& out = annotations_;
        bool has_image = false, has_category = false, has_box = false, crowd = false;
        std::int64_t id = static_cast<std::int64_t>(out.ids.size()), image = 0, category = 0;
        double box[4] = {};
        Span span;
        const bool usual = read_usual(span, [&](std::string_view name) {
            if (name == "image_id") return has_image = json_.whole(image);
            if (name == "category_id") return has_category = json_.whole(category);
            if (name == "bbox") return has_box = take_box(json_, box);
            if (name == "iscrowd") return take_flag(json_, crowd);
            if (name == "id") return json_.whole(id);
            json_.skip();
            return true;
        });
        const bool has_area = box[2] != 0 && box[3] != 0;  // without one, a mask may have the box
        if (!usual || !has_image || !has_category || !has_box || !has_area) {
            out.unusual_annotations.push_back({out.ids.size(), span});
            id = image = category = 0;
            crowd = false;
            for (double& side : box) side = 0;
        }
        out.ids.push_back(id);
        out.image_ids.push_back(image);
        out.category_ids.push_back(category);
        out.boxes.insert(out.boxes.end(), box, box + 4);
        out.crowd.push_back(crowd);
    }

    const char* data_;
    std::size_t size_;
    Json json_;
    LabelFile images_, annotations_;
    Span categories_;
    std::string scratch_, text_, name_;
};

}  // namespace

LabelFile read_label_file(const char* data, std::size_t size) { return Reader(data, size).read(); }

}  // namespace yf::coco
