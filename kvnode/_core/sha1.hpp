// SHA-1 (FIPS 180-4): the names of scripts. It protects nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kvnode {

constexpr size_t kSha1HexBytes = 40;

class Sha1 {
  public:
    void add(const char* data, size_t n) {
        bytes_ += n;
        while (n > 0) {
            size_t take = 64 - used_ < n ? 64 - used_ : n;
            memcpy(block_ + used_, data, take);
            used_ += take;
            data += take;
            n -= take;
            if (used_ == 64) {
                mix();
                used_ = 0;
            }
        }
    }

    // Write the digest as hexadecimal digits in lower case; nothing may be added after it.
    void finish(char* hex) {
        uint64_t bits = bytes_ * 8;
        char end[8];
        for (int i = 0; i < 8; i++)
            end[i] = char(bits >> (56 - 8 * i));
        add("\x80", 1);
        while (used_ != 56)
            add("", 1);
        add(end, 8);
        for (int i = 0; i < int(kSha1HexBytes); i++)
            hex[i] = "0123456789abcdef"[state_[i / 8] >> (28 - 4 * (i % 8)) & 15];
    }

  private:
    static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

    void mix() {
        uint32_t w[80];
        for (int i = 0; i < 16; i++) {
            uint32_t word;
            memcpy(&word, block_ + 4 * i, 4);
            w[i] = __builtin_bswap32(word);
        }
        for (int i = 16; i < 80; i++)
            w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3], e = state_[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) {
                f = (b & c) | (~b & d);
                k = 0x5A827999;
            } else if (i < 40) {
                f = b ^ c ^ d;
                k = 0x6ED9EBA1;
            } else if (i < 60) {
                f = (b & c) | (b & d) | (c & d);
                k = 0x8F1BBCDC;
            } else {
                f = b ^ c ^ d;
                k = 0xCA62C1D6;
            }
            uint32_t next = rotate(a, 5) + f + e + k + w[i];
            e = d;
            d = c;
            c = rotate(b, 30);
            b = a;
            a = next;
        }
        state_[0] += a;
        state_[1] += b;
        state_[2] += c;
        state_[3] += d;
        state_[4] += e;
    }

    uint32_t state_[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint64_t bytes_ = 0;
    size_t used_ = 0;
    char block_[64];
};

inline void sha1_hex(const char* data, size_t n, char* hex) {
    Sha1 sha;
    sha.add(data, n);
    sha.finish(hex);
}

}  // namespace kvnode
