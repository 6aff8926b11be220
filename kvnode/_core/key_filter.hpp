// Which keys LevelDB may hold: blocked Bloom filters over 64-bit key hashes, grown by layers.
//
// "No" is certain, "maybe" is wrong about once in a hundred. A key is added when its record leaves
// memory, so a table that was complete in memory before needs no disk to know that a key is new.
// Source: Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters" (2007).
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace kvnode {

class KeyFilter {
  public:
    // keys: expected. bytes_max: past it the filter gives up and says "maybe" to everything.
    KeyFilter(uint64_t keys, uint64_t bytes_max) : bytes_max_(bytes_max) { grow(keys); }

    void add(uint64_t hash) {
        if (is_full_) return;
        Layer &layer = layers_.back();
        uint64_t *block = layer.block(hash);
        uint64_t bits = spread(hash);
        for (int i = 0; i < kProbes; i++, bits >>= 9)
            block[(bits >> 6) & 7] |= uint64_t(1) << (bits & 63);
        if (++layer.keys >= layer.capacity) grow(2 * layer.capacity);
    }

    bool may_contain(uint64_t hash) const {
        if (is_full_) return true;
        for (const Layer &layer : layers_)
            if (layer.contains(hash)) return true;
        return false;
    }

    uint64_t bytes() const { return bytes_; }

  private:
    static constexpr int kProbes = 7;           // 9 bits of `spread` each
    static constexpr uint64_t kBitsPerKey = 12;
    static constexpr uint64_t kBlockBits = 512;

    struct Layer {
        uint64_t capacity, keys, blocks;
        std::unique_ptr<uint64_t[]> words;

        // The high bits of the hash order the table; the block is chosen by the low ones.
        uint64_t *block(uint64_t hash) const {
            return &words[8 * (((hash & 0xFFFFFFFF) * blocks) >> 32)];
        }
        bool contains(uint64_t hash) const {
            const uint64_t *b = block(hash);
            uint64_t bits = spread(hash);
            for (int i = 0; i < kProbes; i++, bits >>= 9)
                if (!(b[(bits >> 6) & 7] >> (bits & 63) & 1)) return false;
            return true;
        }
    };

    static uint64_t spread(uint64_t hash) {
        hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ULL;
        return hash ^ (hash >> 29);
    }

    void grow(uint64_t keys) {
        uint64_t blocks = keys * kBitsPerKey / kBlockBits + 1;
        if (bytes_ + 64 * blocks > bytes_max_) {
            is_full_ = true;
            layers_.clear();
            bytes_ = 0;
            return;
        }
        layers_.push_back(Layer{keys, 0, blocks, std::make_unique<uint64_t[]>(8 * blocks)});
        bytes_ += 64 * blocks;
    }

    std::vector<Layer> layers_;
    uint64_t bytes_ = 0;
    uint64_t bytes_max_;
    bool is_full_ = false;
};

}  // namespace kvnode
