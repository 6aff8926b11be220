// The struct library of scripts: C structures as strings, with the formats and limits of Redis's, which
// is Roberto Ierusalimschy's struct 0.2 (Copyright (C) 2010-2012 Lua.org, PUC-Rio; MIT licence).
#pragma once

#include <cctype>

#include "lua_buffer.hpp"
#include "lua_numbers.hpp"

namespace kvnode {

constexpr int kStructIntegerMax = 32;           // bytes
constexpr int kStructAlignDefault = 8;          // of '!' without a number

struct StructFormat {
    lua_State* L;
    const char* at;
    bool little = true;
    int align = 1;

    // Read the number at `at`, or return `otherwise`. Raises.
    int number(int otherwise) {
        if (!isdigit(static_cast<unsigned char>(*at)))
            return otherwise;
        int n = 0;
        do {
            int digit = *at - '0';
            if (n > INT_MAX / 10 || n * 10 > INT_MAX - digit)
                luaL_error(L, "integral size overflow");
            n = n * 10 + digit;
            at++;
        } while (isdigit(static_cast<unsigned char>(*at)));
        return n;
    }

    // Return the bytes of one item; 0 where they depend on the data, and for all but items.
    size_t size_of(int option) {
        switch (option) {
        case 'B': case 'b': return 1;
        case 'H': case 'h': return sizeof(short);
        case 'L': case 'l': return sizeof(long);
        case 'T': return sizeof(size_t);
        case 'f': return sizeof(float);
        case 'd': return sizeof(double);
        case 'x': return 1;
        case 'c': return size_t(number(1));
        case 'i': case 'I': {
            int n = number(int(sizeof(int)));
            if (n > kStructIntegerMax)
                luaL_error(L, "integral size %d is larger than limit of %d", n, kStructIntegerMax);
            return size_t(n);
        }
        default: return 0;
        }
    }

    // Return the padding in front of an item; below kStructIntegerMax.
    size_t padding(size_t position, int option, size_t size) const {
        if (size == 0 || option == 'c')
            return 0;
        if (size > size_t(align))
            size = size_t(align);
        return (size - (position & (size - 1))) & (size - 1);
    }

    void control(int option) {
        switch (option) {
        case ' ': return;
        case '>': little = false; return;
        case '<': little = true; return;
        case '!': {
            int n = number(kStructAlignDefault);
            if (n <= 0 || (n & (n - 1)) != 0)
                luaL_error(L, "alignment %d is not a power of 2", n);
            align = n;
            return;
        }
        default:
            luaL_argerror(L, 1, lua_pushfstring(L, "invalid format option '%c'", option));
        }
    }

    // The value is 8 bytes wide: wider integers are filled with zeros, as there.
    void put_integer(char* out, uint64_t value, size_t size) const {
        for (size_t i = 0; i < size; i++) {
            out[little ? i : size - 1 - i] = char(value);
            value >>= 8;
        }
    }

    uint64_t get_integer(const char* data, size_t size) const {
        uint64_t value = 0;
        for (size_t i = 0; i < size; i++)
            value = value << 8 | static_cast<unsigned char>(data[little ? size - 1 - i : i]);
        return value;
    }
};

inline int struct_pack(lua_State* L) {
    StructFormat format{L, luaL_checklstring(L, 1, nullptr)};
    int arg = 2;
    lua_pushnil(L);                             // an argument that is missing, and not the buffer
    LuaBuffer out(L);
    LuaTally tally{L};
    while (*format.at != '\0') {
        tally.step();
        int option = *format.at++;
        size_t size = format.size_of(option);
        for (size_t n = format.padding(out.size(), option, size); n > 0; n--)
            out.put('\0');
        switch (option) {
        case 'b': case 'B': case 'h': case 'H': case 'l': case 'L': case 'T': case 'i': case 'I': {
            lua_Number n = luaL_checknumber(L, arg++);
            uint64_t value = n < 0 ? uint64_t(lua_number_to_long(n)) : lua_number_to_ulong(n);
            format.put_integer(out.room(size), value, size);
            out.add(size);
            break;
        }
        case 'x':
            out.put('\0');
            break;
        case 'f': {
            float n = float(luaL_checknumber(L, arg++));
            uint32_t bits;
            memcpy(&bits, &n, size);
            format.put_integer(out.room(size), bits, size);
            out.add(size);
            break;
        }
        case 'd': {
            double n = luaL_checknumber(L, arg++);
            uint64_t bits;
            memcpy(&bits, &n, size);
            format.put_integer(out.room(size), bits, size);
            out.add(size);
            break;
        }
        case 'c':
        case 's': {
            size_t n;
            const char* text = luaL_checklstring(L, arg++, &n);
            if (size == 0)
                size = n;
            lua_argcheck(L, n >= size, arg, "string too short");
            out.put(text, size);
            if (option == 's')
                out.put('\0');
            break;
        }
        default:
            format.control(option);
        }
    }
    tally.pay();
    out.push();
    return 1;
}

inline int struct_unpack(lua_State* L) {
    StructFormat format{L, luaL_checklstring(L, 1, nullptr)};
    size_t data_n;
    const char* data = luaL_checklstring(L, 2, &data_n);
    size_t position = size_t(luaL_optinteger(L, 3, 1));
    lua_argcheck(L, position > 0, 3, "offset must be 1 or greater");
    position--;
    int results = 0;
    LuaTally tally{L};
    lua_settop(L, 2);
    while (*format.at != '\0') {
        tally.step();
        int option = *format.at++;
        size_t size = format.size_of(option);
        position += format.padding(position, option, size);
        lua_argcheck(L, size <= data_n && position <= data_n - size, 2, "data string too short");
        luaL_checkstack(L, 2, "too many results");
        const char* at = data + position;
        switch (option) {
        case 'b': case 'B': case 'h': case 'H': case 'l': case 'L': case 'T': case 'i': case 'I': {
            uint64_t value = format.get_integer(at, size);
            if (islower(option)) {
                uint64_t sign = ~uint64_t(0) << ((size * 8 - 1) & 63);
                if (value & sign)
                    value |= sign;
                lua_pushnumber(L, lua_Number(int64_t(value)));
            } else {
                lua_pushnumber(L, lua_Number(value));
            }
            results++;
            break;
        }
        case 'x':
            break;
        case 'f': {
            uint32_t bits = uint32_t(format.get_integer(at, size));
            float n;
            memcpy(&n, &bits, size);
            lua_pushnumber(L, n);
            results++;
            break;
        }
        case 'd': {
            uint64_t bits = format.get_integer(at, size);
            double n;
            memcpy(&n, &bits, size);
            lua_pushnumber(L, n);
            results++;
            break;
        }
        case 'c':
            if (size == 0) {                    // the number before tells the length
                if (results == 0 || !lua_isnumber(L, -1))
                    luaL_error(L, "format 'c0' needs a previous size");
                size = lua_number_to_ulong(lua_tonumber(L, -1));
                lua_pop(L, 1);
                results--;
                lua_argcheck(L, size <= data_n && position <= data_n - size, 2,
                             "data string too short");
            }
            lua_pushlstring(L, at, size);
            results++;
            break;
        case 's': {
            const void* end = memchr(at, '\0', data_n - position);
            if (end == nullptr)
                luaL_error(L, "unfinished string in data");
            size = size_t(static_cast<const char*>(end) - at) + 1;
            lua_pushlstring(L, at, size - 1);
            results++;
            break;
        }
        default:
            format.control(option);
        }
        position += size;
    }
    tally.pay();
    lua_pushinteger(L, lua_Integer(position) + 1);
    return results + 1;
}

inline int struct_size(lua_State* L) {
    StructFormat format{L, luaL_checklstring(L, 1, nullptr)};
    size_t position = 0;
    LuaTally tally{L};
    while (*format.at != '\0') {
        tally.step();
        int option = *format.at++;
        size_t size = format.size_of(option);
        position += format.padding(position, option, size);
        if (option == 's')
            luaL_argerror(L, 1, "option 's' has no fixed size");
        if (option == 'c' && size == 0)
            luaL_argerror(L, 1, "option 'c0' has no fixed size");
        if (!isalnum(option))
            format.control(option);
        position += size;
    }
    tally.pay();
    lua_pushinteger(L, lua_Integer(position));
    return 1;
}

// Push the library. Raises when memory is out.
inline void lua_open_struct(lua_State* L) {
    static const LuaFunction functions[] = {
        {"pack", struct_pack},
        {"unpack", struct_unpack},
        {"size", struct_size},
    };
    lua_newtable(L);
    lua_set_functions(L, functions);
}

}  // namespace kvnode
