#include "annotations.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

#include "json.hpp"

namespace yf::coco {
namespace {

// Reads ids of one kind; mixed kinds have no order that could be agreed on.
class IdReader {
  public:
    explicit IdReader(Ids& ids) : ids_(ids) {}

    void read(Json& json) {
        const bool text = json.peek() == '"';
        if (!ids_.values.empty() && text != !ids_.texts.empty())
            json.fail(text ? "a whole number as the ids before" : "a text as the ids before");
        ids_.values.push_back(text ? number_of(json.string(scratch_)) : json.integer());
    }

  private:
    std::int64_t number_of(std::string_view text) {
        const auto next = static_cast<std::int64_t>(ids_.texts.size());
        if (next > 0 && ids_.texts[static_cast<std::size_t>(last_)] == text) return last_;
        const auto [place, added] = numbers_.try_emplace(std::string(text), next);
        if (added) ids_.texts.emplace_back(text);
        return last_ = place->second;
    }

    Ids& ids_;
    std::unordered_map<std::string, std::int64_t> numbers_;
    std::int64_t last_ = 0;
    std::string scratch_;
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

void read_images(Json& json, GroundTruth& out) {
    IdReader ids(out.images);
    std::string scratch;
    read_list(json, [&] {
        bool found = false;
        read_object(json, scratch, [&](std::string_view name) {
            if (name != "id" || found) return json.skip();
            ids.read(json);
            found = true;
        });
        require(json, found, "id");
    });
}

void read_categories(Json& json, GroundTruth& out) {
    std::string scratch, text;
    read_list(json, [&] {
        bool found = false;
        std::int64_t id = 0;
        std::string label;
        read_object(json, scratch, [&](std::string_view name) {
            if (name == "id") {
                id = json.integer();
                found = true;
            } else if (name == "name" && json.peek() == '"') {
                label = json.string(text);
            } else {
                json.skip();
            }
        });
        require(json, found, "id");
        out.categories.push_back(id);
        out.category_names.push_back(label);
    });
}

void read_annotations(Json& json, GroundTruth& out) {
    IdReader image_ids(out.image_ids);
    std::string scratch;
    read_list(json, [&] {
        bool has_image = false, has_category = false, has_box = false;
        std::int64_t id = 1, category = 0;
        double box[4] = {};
        double area = std::numeric_limits<double>::quiet_NaN();
        bool crowd = false;
        read_object(json, scratch, [&](std::string_view name) {
            if (name == "image_id" && !has_image) {
                image_ids.read(json);
                has_image = true;
            } else if (name == "category_id") {
                category = json.integer();
                has_category = true;
            } else if (name == "bbox") {
                read_box(json, box);
                has_box = true;
            } else if (name == "area") {
                if (!json.null()) area = json.number();
            } else if (name == "iscrowd") {
                crowd = json.flag();
            } else if (name == "id") {
                id = json.integer();
            } else {
                json.skip();
            }
        });
        require(json, has_image, "image_id");
        require(json, has_category, "category_id");
        require(json, has_box, "bbox");
        out.ids.push_back(id);
        out.category_ids.push_back(category);
        out.boxes.insert(out.boxes.end(), box, box + 4);
        out.areas.push_back(area);
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
            } else if (name == "image_id" && !has_image) {
                image_ids_.read(json_);
                has_image = true;
            } else if (name == "category_id") {
                category = json_.integer();
                has_category = true;
            } else {
                json_.skip();
            }
        });
        require(json_, has_image, "image_id");
        require(json_, has_category, "category_id");
        require(json_, has_box, "bbox");
        require(json_, has_score, "score");
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
    GroundTruth out;
    std::string scratch;
    bool images = false, categories = false, annotations = false;
    read_object(json, scratch, [&](std::string_view name) {
        if (name == "images" && !images) {
            images = true;
            read_images(json, out);
        } else if (name == "categories" && !categories) {
            categories = true;
            read_categories(json, out);
        } else if (name == "annotations" && !annotations) {
            annotations = true;
            read_annotations(json, out);
        } else {
            json.skip();
        }
    });
    require(json, images, "images");
    require(json, categories, "categories");
    require(json, annotations, "annotations");
    if (!json.at_end()) json.fail("the end of the file");
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
