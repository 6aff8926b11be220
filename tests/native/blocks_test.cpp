// Blocks, LinearHash, NameSet and Deadlines against the containers of the standard library, and what one
// operation may cost: see tests/unit/_core/test_blocks.py.
//
//   blocks_test SEED OPERATIONS [vector | map]
//
// vector, map: measure these instead, which are copied when they grow; that has to be found.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <queue>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "blocks.hpp"
#include "deadlines.hpp"
#include "linear_hash.hpp"
#include "name_set.hpp"

static const size_t kAllocationMax = 256 << 10;     // bytes that one operation may ask for
static const size_t kHashesMax = 64;                // elements that one insert or erase may move

static std::mt19937_64 random_bits;
static size_t largest;      // allocation since the last look

extern "C" void* __real_malloc(size_t);
extern "C" void* __wrap_malloc(size_t n) {
    largest = std::max(largest, n);
    return __real_malloc(n);
}
void* operator new(size_t n) {
    largest = std::max(largest, n);
    void* p = __real_malloc(n);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
void operator delete(void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }

static void require(bool condition, const char* what) {
    if (!condition) {
        printf("FAILED: %s\n", what);
        exit(1);
    }
}

static uint64_t below(uint64_t n) { return random_bits() % n; }

template <typename Tested>
static void check_sequence(size_t operations) {
    Tested tested, other;
    std::vector<uint64_t> model, other_model;
    model.reserve(operations);
    other_model.reserve(operations);
    std::vector<std::pair<size_t, uint64_t*>> places;
    places.reserve(operations);
    for (size_t i = 0; i < operations; i++) {
        largest = 0;
        uint64_t choice = below(1000);
        if (choice < 990 || model.empty()) {
            tested.push_back(i);
            model.push_back(i);
            if (i % 1000 == 0) places.emplace_back(model.size() - 1, &tested[model.size() - 1]);
        } else if (choice < 996) {
            tested.pop_back();
            model.pop_back();
        } else if (choice < 999) {
            size_t left = model.size() - below(std::min<size_t>(model.size(), 200) + 1);
            tested.resize(left);
            model.resize(left);
        } else if (below(40) == 0) {
            tested.swap(other);
            model.swap(other_model);
            places.clear();
            if (below(3) == 0) {
                tested.clear();
                model.clear();
            }
        }
        while (!places.empty() && places.back().first >= model.size()) places.pop_back();
        require(largest <= kAllocationMax, "one operation allocates a bounded block");
        require(tested.size() == model.size() && tested.empty() == model.empty(), "size");
        if (!model.empty()) {
            size_t at = below(model.size());
            require(tested[at] == model[at] && tested.back() == model.back(), "elements");
        }
    }
    for (auto& place : places) require(&tested[place.first] == place.second, "elements never move");
    for (size_t i = 0; i < model.size(); i++) require(tested[i] == model[i], "all elements");
}

struct Item {
    Item* chained;
    uint64_t key;
};
static size_t hashes;       // computed since the last look
struct ItemHash {
    static uint64_t of(const Item* item) {
        hashes++;
        return item->key * 0x9E3779B97F4A7C15;
    }
};

static void check_hash(size_t operations) {
    kvnode::LinearHash<Item, ItemHash> tested;
    std::unordered_map<uint64_t, std::unique_ptr<Item>> model;
    std::vector<uint64_t> keys;
    bool is_growing = true;
    for (size_t i = 0; i < operations; i++) {
        if (below(operations / 3 + 1) == 0) is_growing = !is_growing;
        if (keys.empty() || below(10) < (is_growing ? 9 : 1)) {
            auto item = std::make_unique<Item>(Item{nullptr, i});
            Item* p = item.get();
            model[i] = std::move(item);
            keys.push_back(i);
            hashes = 0;
            largest = 0;
            tested.insert(p);
        } else {
            size_t at = below(keys.size());
            uint64_t key = keys[at];
            keys[at] = keys.back();
            keys.pop_back();
            hashes = 0;
            largest = 0;
            tested.erase(model[key].get());
            model.erase(key);
        }
        require(hashes <= kHashesMax, "one operation moves the elements of one bucket");
        require(largest <= kAllocationMax, "one operation allocates a bounded block");
        require(tested.size() == model.size(), "size");
        uint64_t key = below(i + 1);
        Item wanted{nullptr, key};
        Item* found = tested.first(ItemHash::of(&wanted));
        while (found != nullptr && found->key != key) found = found->chained;
        auto known = model.find(key);
        require(found == (known == model.end() ? nullptr : known->second.get()), "first() finds it");
    }
}

static void check_planted_hash(size_t operations) {
    struct Counted {
        size_t operator()(uint64_t key) const noexcept(false) {
            hashes++;
            return key * 0x9E3779B97F4A7C15;
        }
    };
    std::unordered_map<uint64_t, int, Counted> tested;
    for (size_t i = 0; i < operations; i++) {
        hashes = 0;
        largest = 0;
        tested[i] = 0;
        require(hashes <= kHashesMax && largest <= kAllocationMax,
                "one operation moves the elements of one bucket");
    }
}

static void check_names(size_t operations) {
    kvnode::NameSet tested;
    std::unordered_map<std::string, uint32_t> model;
    std::vector<std::unique_ptr<std::string>> names;
    for (size_t i = 0; i < operations; i++) {
        names.push_back(std::make_unique<std::string>(std::to_string(below(operations))));
        const std::string& name = *names.back();
        uint64_t hash = std::hash<std::string>()(name) % (operations / 2 + 1);     // some are equal
        largest = 0;
        uint32_t number = tested.number(hash, name.data(), static_cast<uint32_t>(name.size()));
        require(largest <= kAllocationMax, "one operation allocates a bounded block");
        require(number == model.emplace(name, model.size()).first->second, "numbers of names");
        require(!tested.add(hash, name.data(), static_cast<uint32_t>(name.size())), "it is known");
    }
}

static void check_deadlines(size_t operations) {
    kvnode::Deadlines tested;
    using Heap = std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<uint64_t>>;
    Heap recent, older;
    for (size_t i = 0; i < operations; i++) {
        uint64_t choice = below(100);
        uint64_t at_ms = below(operations);
        largest = 0;
        if (choice < 60) {
            tested.push(at_ms, i, i);
            require(largest <= kAllocationMax, "one operation allocates a bounded block");
            recent.push(at_ms);
        } else if (tested.due(at_ms)) {
            bool is_older = !older.empty() && (recent.empty() || older.top() <= recent.top());
            Heap& first = is_older ? older : recent;
            require(tested.top().at_ms == first.top(), "the earliest comes first");
            tested.pop();
            first.pop();
        } else {
            require((recent.empty() || recent.top() > at_ms) && (older.empty() || older.top() > at_ms),
                    "nothing is due");
        }
        if (below(operations / 10 + 1) == 0) {
            tested.begin_checkpoint();
            for (; !older.empty(); older.pop()) recent.push(older.top());
            recent.swap(older);
        } else if (below(operations / 10 + 1) == 0) {
            tested.end_checkpoint();
            older = Heap();
        }
        require(tested.size() == recent.size() + older.size(), "size");
    }
}

int main(int argc, char** argv) {
    random_bits.seed(strtoull(argv[1], nullptr, 10));
    size_t operations = strtoull(argv[2], nullptr, 10);
    if (argc > 3 && strcmp(argv[3], "vector") == 0) {
        check_sequence<std::vector<uint64_t>>(operations);
    } else if (argc > 3) {
        check_planted_hash(operations);
    } else {
        check_sequence<kvnode::Blocks<uint64_t>>(operations);
        check_hash(operations);
        check_names(operations);
        check_deadlines(operations);
    }
    printf("ok\n");
    return 0;
}
