// Bytes that grow while a C function of Lua builds a string. What is past the first bytes lies in a
// userdata at a stack slot of its own, so that an error leaves nothing behind.
#pragma once

#include <cstring>

#include "lua_control.hpp"

namespace kvnode {

class LuaBuffer {
  public:
    // Reserves one stack slot, at the top now. Raises.
    explicit LuaBuffer(lua_State* L) : L_(L), data_(first_), capacity_(sizeof first_) {
        lua_pushnil(L);
        slot_ = lua_gettop(L);
    }
    LuaBuffer(const LuaBuffer&) = delete;
    void operator=(const LuaBuffer&) = delete;

    size_t size() const { return size_; }
    const char* data() const { return data_; }
    void clear() { size_ = 0; }

    void put(char c) {
        if (size_ == capacity_)
            grow(1);
        data_[size_++] = c;
    }
    void put(const char* bytes, size_t n) {
        char* at = room(n);
        if (n != 0)
            memcpy(at, bytes, n);
        size_ += n;
    }
    // Return room for n bytes; the caller adds what it wrote.
    char* room(size_t n) {
        if (n > capacity_ - size_)
            grow(n);
        return data_ + size_;
    }
    void add(size_t n) { size_ += n; }

    // Push what was built. Needs one free slot. Raises.
    void push() {
        lua_make_room(L_, size_);
        lua_pushlstring(L_, data_, size_);
    }

  private:
    // Needs one free slot. Raises.
    void grow(size_t n) {
        constexpr size_t kMost = size_t(1) << 40;
        if (n > kMost || size_ > kMost)
            luaL_error(L_, "string slice too long");
        size_t wanted = size_ + n > 2 * capacity_ ? size_ + n : 2 * capacity_;
        lua_make_room(L_, wanted);
        char* larger = static_cast<char*>(lua_newuserdata(L_, wanted));
        memcpy(larger, data_, size_);
        lua_replace(L_, slot_);
        data_ = larger;
        capacity_ = wanted;
    }

    lua_State* L_;
    int slot_;
    char* data_;
    size_t size_ = 0;
    size_t capacity_;
    char first_[512];
};

}  // namespace kvnode
