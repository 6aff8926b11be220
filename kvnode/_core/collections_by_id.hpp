// The collections of a tip, by their ids. Collection is the struct of entries.pxd.
#pragma once
#include <cstdint>

#include "linear_hash.hpp"

namespace kvnode {

template <typename Collection>
class CollectionsById {
  public:
    size_t size() const { return index_.size(); }
    bool empty() const { return index_.empty(); }
    void insert(Collection* c) { index_.insert(c); }
    void erase(Collection* c) { index_.erase(c); }

    Collection* find(uint64_t id) const {
        Collection* c = index_.first(mixed(id));
        while (c != nullptr && c->id != id) {
            c = c->chained;
        }
        return c;
    }

  private:
    // Ids are numbers of a counter, of which a client may take every 2^n-th.
    static uint64_t mixed(uint64_t id) {
        id *= 0x9E3779B97F4A7C15;
        return id ^ (id >> 32);
    }
    struct Hash {
        static uint64_t of(const Collection* c) { return mixed(c->id); }
    };

    LinearHash<Collection, Hash> index_;
};

}  // namespace kvnode
