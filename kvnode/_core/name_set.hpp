// A set of names that live elsewhere, found by hashes that are known already: which elements of
// several collections a command has met, or which it has drawn.
#pragma once
#include <cstdint>
#include <cstring>

#include "blocks.hpp"
#include "linear_hash.hpp"

namespace kvnode {

class NameSet {
  public:
    // Whether the name is new; it is known from now on.
    bool add(uint64_t hash, const char* name, uint32_t length) {
        uint32_t before = static_cast<uint32_t>(names_.size());
        return number(hash, name, length) == before;
    }

    // The number of a name: 0 for the first one met, 1 for the second, and so on.
    uint32_t number(uint64_t hash, const char* name, uint32_t length) {
        for (Name* known = index_.first(hash); known != nullptr; known = known->chained) {
            if (known->hash == hash && known->length == length
                && memcmp(known->name, name, length) == 0) {
                return known->number;
            }
        }
        names_.push_back(Name{nullptr, hash, name, length, static_cast<uint32_t>(names_.size())});
        index_.insert(&names_.back());
        return names_.back().number;
    }

  private:
    struct Name {
        Name* chained;
        uint64_t hash;
        const char* name;
        uint32_t length, number;
    };
    struct Hash {
        static uint64_t of(const Name* name) { return name->hash; }
    };

    Blocks<Name> names_;
    LinearHash<Name, Hash> index_;
};

}  // namespace kvnode
