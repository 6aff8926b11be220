// A set of names that live elsewhere, found by hashes that are known already: which elements of
// several collections a command has met, or which it has drawn.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

namespace kvnode {

class NameSet {
  public:
    // Whether the name is new; it is known from now on.
    bool add(uint64_t hash, const char* name, uint32_t length) {
        uint32_t before = count_;
        return number(hash, name, length) == before;
    }

    // The number of a name: 0 for the first one met, 1 for the second, and so on.
    uint32_t number(uint64_t hash, const char* name, uint32_t length) {
        if (count_ * size_t{2} >= slots_.size()) {
            grow();
        }
        Slot& slot = find(hash, name, length);
        if (slot.name == nullptr) {
            slot = Slot{hash, name, length, count_++};
        }
        return slot.number;
    }

  private:
    struct Slot {
        uint64_t hash;
        const char* name;
        uint32_t length, number;
    };

    Slot& find(uint64_t hash, const char* name, uint32_t length) {
        size_t mask = slots_.size() - 1;
        size_t at = hash & mask;
        while (slots_[at].name != nullptr
               && (slots_[at].hash != hash || slots_[at].length != length
                   || memcmp(slots_[at].name, name, length) != 0)) {
            at = (at + 1) & mask;
        }
        return slots_[at];
    }

    void grow() {
        std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size(), Slot{0, nullptr, 0, 0});
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.name != nullptr) {
                find(slot.hash, slot.name, slot.length) = slot;
            }
        }
    }

    std::vector<Slot> slots_;
    uint32_t count_ = 0;
};

}  // namespace kvnode
