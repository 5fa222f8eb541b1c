#include "core/coco/annotations.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/coco/json.hpp"

namespace yf::coco {
namespace {

// Ids of one kind; mixed kinds have no order that could be agreed on. An object's id is read first and added
// when the object ends: of equal keys the last counts.
class IdReader {
  public:
    explicit IdReader(Ids& ids) : ids_(ids) {}

    void read(Json& json) {
        text_ = json.peek() == '"';
        if (text_)
            name_ = json.string(scratch_);
        else
            value_ = json.integer();
    }

    void add(Json& json) {
        if (!ids_.values.empty() && text_ != !ids_.texts.empty())
            json.fail(text_ ? "a whole number as id, as before" : "a text as id, as before");
        ids_.values.push_back(text_ ? number_of(name_) : value_);
    }

  private:
    std::int64_t number_of(const std::string& name) {
        const auto next = static_cast<std::int64_t>(ids_.texts.size());
        if (next > 0 && ids_.texts[static_cast<std::size_t>(last_)] == name) return last_;
        const auto [place, added] = numbers_.try_emplace(name, next);
        if (added) ids_.texts.push_back(name);
        return last_ = place->second;
    }

    Ids& ids_;
    bool text_ = false;
    std::int64_t value_ = 0;
    std::string name_, scratch_;
    std::unordered_map<std::string, std::int64_t> numbers_;
    std::int64_t last_ = 0;
};

void read_box(Json& json, double* out) {
    json.expect('[');
    for (int i = 0; i < 4; ++i) {
        if (i > 0) json.expect(',');
        out[i] = json.number();
    }
    if (!json.take(']')) json.fail("the end of a box of four numbers");
}

// Calls member(name) for each member of the object that is next; it has to read or skip the value.
template <typename Member>
void read_object(Json& json, std::string& scratch, const Member& member) {
    json.expect('{');
    for (bool first = true; json.next('}', first);) member(json.key(scratch));
}

template <typename Element>
void read_list(Json& json, const Element& element) {
    json.expect('[');
    for (bool first = true; json.next(']', first);) element();
}

void require(Json& json, bool present, const char* name) {
    if (!present) json.fail(std::string("\"") + name + "\" in the object that ends here");
}

// Reads the lists of one key. An image's list is added when the image ends: of equal keys the last counts.
class CategoryListReader {
  public:
    explicit CategoryListReader(CategoryLists& lists) : lists_(lists) {}

    void read(Json& json) {
        list_.clear();
        given_ = true;
        read_list(json, [&] { list_.push_back(json.integer()); });
    }

    void add() {
        lists_.categories.insert(lists_.categories.end(), list_.begin(), list_.end());
        lists_.ends.push_back(static_cast<std::int64_t>(lists_.categories.size()));
        lists_.given += given_;
        list_.clear();
        given_ = false;
    }

  private:
    CategoryLists& lists_;
    std::vector<std::int64_t> list_;
    bool given_ = false;
};

void read_images(Json& json, GroundTruth& out) {
    IdReader ids(out.images);
    CategoryListReader negative(out.negative), not_exhaustive(out.not_exhaustive);
    std::string scratch;
    read_list(json, [&] {
        bool found = false;
        read_object(json, scratch, [&](std::string_view name) {
            if (name == "id") {
                ids.read(json);
                found = true;
            } else if (name == "neg_category_ids") {
                negative.read(json);
            } else if (name == "not_exhaustive_category_ids") {
                not_exhaustive.read(json);
            } else {
                json.skip();
            }
        });
        require(json, found, "id");
        ids.add(json);
        negative.add();
        not_exhaustive.add();
    });
}

void read_categories(Json& json, GroundTruth& out) {
    std::string scratch, text;
    read_list(json, [&] {
        bool found = false;
        std::int64_t id = 0;
        std::string label, frequency;
        read_object(json, scratch, [&](std::string_view name) {
            if (name == "id") {
                id = json.integer();
                found = true;
            } else if (name == "name" && json.peek() == '"') {
                label = json.string(text);
            } else if (name == "frequency" && json.peek() == '"') {
                frequency = json.string(text);
            } else {
                json.skip();
            }
        });
        require(json, found, "id");
        out.categories.push_back(id);
        out.category_names.push_back(label);
        out.frequencies.push_back(frequency);
    });
}

void read_annotations(Json& json, GroundTruth& out) {
    IdReader image_ids(out.image_ids);
    std::string scratch;
    read_list(json, [&] {
        bool has_id = false, has_image = false, has_category = false, has_box = false, has_area = false;
        std::int64_t id = 0, category = 0;
        double box[4] = {}, area = 0;
        bool crowd = false;
        read_object(json, scratch, [&](std::string_view name) {
            if (name == "image_id") {
                image_ids.read(json);
                has_image = true;
            } else if (name == "category_id") {
                category = json.integer();
                has_category = true;
            } else if (name == "bbox") {
                read_box(json, box);
                has_box = true;
            } else if (name == "area") {
                has_area = !json.null();
                if (has_area) area = json.number();
            } else if (name == "iscrowd") {
                crowd = json.flag();
            } else if (name == "id") {
                id = json.integer();
                has_id = true;
            } else {
                json.skip();
            }
        });
        require(json, has_id, "id");
        require(json, has_image, "image_id");
        require(json, has_category, "category_id");
        require(json, has_box, "bbox");
        image_ids.add(json);
        out.ids.push_back(id);
        out.category_ids.push_back(category);
        out.boxes.insert(out.boxes.end(), box, box + 4);
        out.areas.push_back(has_area ? area : box[2] * box[3]);
        out.crowd.push_back(crowd);
    });
}

class ResultReader {
  public:
    // `entries` is how many there may be: memory that is not written to costs nothing.
    ResultReader(Json& json, Results& out, std::size_t entries)
        : json_(json), out_(out), image_ids_(out.image_ids) {
        out.image_ids.values.reserve(entries);
        out.category_ids.reserve(entries);
        out.boxes.reserve(4 * entries);
        out.scores.reserve(entries);
    }

    void read() {
        bool has_image = false, has_category = false, has_box = false, has_score = false;
        bool has_mask = false, has_keypoints = false;
        std::int64_t category = 0;
        double box[4] = {};
        double score = 0;
        read_object(json_, scratch_, [&](std::string_view name) {
            if (name == "bbox") {
                read_box(json_, box);
                has_box = true;
            } else if (name == "score") {
                score = json_.number();
                has_score = true;
            } else if (name == "image_id") {
                image_ids_.read(json_);
                has_image = true;
            } else if (name == "category_id") {
                category = json_.integer();
                has_category = true;
            } else {
                has_mask |= name == "segmentation";
                has_keypoints |= name == "keypoints";
                json_.skip();
            }
        });
        require(json_, has_image, "image_id");
        require(json_, has_category, "category_id");
        if (!has_box && (has_mask || has_keypoints))
            json_.fail(std::string("\"bbox\" in the object that ends here; it has ") +
                       (has_mask ? "\"segmentation\"" : "\"keypoints\"") + ", but only boxes are evaluated");
        require(json_, has_box, "bbox");
        require(json_, has_score, "score");
        image_ids_.add(json_);
        out_.category_ids.push_back(category);
        out_.boxes.insert(out_.boxes.end(), box, box + 4);
        out_.scores.push_back(score);
    }

  private:
    Json& json_;
    Results& out_;
    IdReader image_ids_;
    std::string scratch_;
};

}  // namespace

GroundTruth read_ground_truth(const char* data, std::size_t size) {
    Json json(data, size);
    GroundTruth images, categories, out;  // each fills its own columns; of equal keys the last counts
    std::string scratch;
    bool has_images = false, has_categories = false, has_annotations = false;
    if (json.peek() == '[') json.fail("'{', an object with images, categories and annotations, not a list");
    read_object(json, scratch, [&](std::string_view name) {
        if (name == "images") {
            images = {};
            read_images(json, images);
            has_images = true;
        } else if (name == "categories") {
            categories = {};
            read_categories(json, categories);
            has_categories = true;
        } else if (name == "annotations") {
            out = {};
            read_annotations(json, out);
            has_annotations = true;
        } else {
            json.skip();
        }
    });
    require(json, has_images, "images");
    require(json, has_categories, "categories");
    require(json, has_annotations, "annotations");
    if (!json.at_end()) json.fail("the end of the file");
    out.images = std::move(images.images);
    out.negative = std::move(images.negative);
    out.not_exhaustive = std::move(images.not_exhaustive);
    out.categories = std::move(categories.categories);
    out.category_names = std::move(categories.category_names);
    out.frequencies = std::move(categories.frequencies);
    return out;
}

Results read_results(const char* data, std::size_t size, std::size_t start, std::size_t stop,
                     std::size_t& reached) {
    Json json(data, size, start);
    Results out;
    constexpr std::size_t kShortest = 60;  // bytes of an entry, about
    ResultReader reader(json, out, (std::min(stop, size) - std::min(start, size)) / kShortest + 1);
    bool first = true;
    if (start == 0) {
        if (json.peek() == '{') json.fail("'[', a list of results, not an object such as the ground truth");
        if (json.peek() != '[') json.fail("'[', a list of results");
        json.take('[');
        if (json.take(']')) {
            if (!json.at_end()) json.fail("the end of the file");
            reached = size;
            return out;
        }
    }
    do {
        if (!first && !json.take(',')) json.fail("',' or ']'");
        first = false;
        if (json.peek() != '{') json.fail("'{', a result");
        if (json.offset() >= stop) {
            reached = json.offset();
            return out;
        }
        reader.read();
    } while (!json.take(']'));
    if (!json.at_end()) json.fail("the end of the file");
    reached = size;
    return out;
}

std::size_t likely_entry(const char* data, std::size_t size, std::size_t from) {
    const std::string_view text(data, size);
    for (std::size_t at = text.find('{', from); at != std::string_view::npos; at = text.find('{', at + 1)) {
        std::size_t before = at;
        const auto blank = [&] {
            return before > 0 && std::string_view(" \n\t\r").find(text[before - 1]) != std::string_view::npos;
        };
        while (blank()) --before;
        if (before == 0 || text[before - 1] != ',') continue;
        --before;
        while (blank()) --before;
        if (before > 0 && text[before - 1] == '}') return at;
    }
    return size;
}

}  // namespace yf::coco
