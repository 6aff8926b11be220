// cjson.encode: a Lua value as JSON, byte for byte as lua-cjson 2.1.0 in Redis writes it.
#pragma once

#include <cmath>
#include <cstdio>

#include "lua_buffer.hpp"
#include "lua_numbers.hpp"
#include "lua_sandbox.hpp"

namespace kvnode {

class JsonEncoder {
  public:
    JsonEncoder(lua_State* L, const JsonSettings& settings)
        : L_(L), settings_(settings), out_(L), tally_{L} {}

    // Push the text of the value at `index`.
    void encode(int index) {
        lua_pushvalue(L_, index);
        put_value(0);
        tally_.pay();
        out_.push();
    }

  private:
    [[noreturn]] void refuse(int index, const char* reason) {
        luaL_error(L_, "Cannot serialise %s: %s", lua_typename_at(L_, index), reason);
        abort();
    }

    void put_string(int index) {
        static const char hex[] = "0123456789abcdef";
        size_t n;
        const char* text = lua_tolstring(L_, index, &n);
        lua_spend(L_, n / 16);
        out_.put('"');
        size_t run = 0;                         // where what is not yet put begins
        for (size_t i = 0; i < n; i++) {
            unsigned char c = static_cast<unsigned char>(text[i]);
            if (c >= 0x20 && c != '"' && c != '/' && c != '\\' && c != 0x7f)
                continue;
            out_.put(text + run, i - run);
            run = i + 1;
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            size_t escape_n = 2;
            switch (c) {
            case '\b': escape[1] = 'b'; break;
            case '\t': escape[1] = 't'; break;
            case '\n': escape[1] = 'n'; break;
            case '\f': escape[1] = 'f'; break;
            case '\r': escape[1] = 'r'; break;
            case '"':
            case '/':
            case '\\': escape[1] = char(c); break;
            default: escape_n = 6;
            }
            out_.put(escape, escape_n);
        }
        out_.put(text + run, n - run);
        out_.put('"');
    }

    void put_number(int index) {
        double n = lua_tonumber(L_, index);
        if (std::isinf(n) || std::isnan(n)) {
            if (settings_.encode_invalid == 0)
                refuse(index, "must not be NaN or Inf");
            if (settings_.encode_invalid == 2) {
                out_.put("null", 4);
                return;
            }
            if (std::isnan(n)) {                // its sign does not show
                out_.put("nan", 3);
                return;
            }
        }
        char* at = out_.room(32);
        if (settings_.precision == 14 && n > -1e14 && n < 1e14 && double(int64_t(n)) == n &&
            !(n == 0 && std::signbit(n)))
            out_.add(size_t(put_integer(at, int64_t(n))));
        else
            out_.add(size_t(snprintf(at, 32, "%.*g", settings_.precision, n)));
    }

    static int put_integer(char* at, int64_t n) {
        char digits[20];
        int count = 0, length = 0;
        uint64_t rest = n < 0 ? uint64_t(-n) : uint64_t(n);
        do {
            digits[count++] = char('0' + rest % 10);
        } while ((rest /= 10) != 0);
        if (n < 0)
            at[length++] = '-';
        while (count > 0)
            at[length++] = digits[--count];
        return length;
    }

    // Return the length of the array at the top, or 0 or less if it is to be an object. Indices are
    // taken as C's int, as there: one that is too large is INT_MIN.
    int array_length() {
        int largest = 0;
        int64_t items = 0;
        lua_pushnil(L_);
        while (lua_next(L_, -2)) {
            tally_.step();
            double key = lua_type(L_, -2) == LUA_TNUMBER ? lua_tonumber(L_, -2) : 0;
            if (!(key >= 1 && std::floor(key) == key)) {
                lua_pop(L_, 2);
                return -1;
            }
            if (key > largest)
                largest = lua_number_to_int(key);
            items++;
            lua_pop(L_, 1);
        }
        if (settings_.sparse_ratio > 0 && largest > items * settings_.sparse_ratio &&
            largest > settings_.sparse_safe) {
            if (!settings_.sparse_convert)
                refuse(-1, "excessively sparse array");
            return -1;
        }
        return largest;
    }

    void put_array(int depth, int length) {
        out_.put('[');
        for (int i = 1;; i++) {
            lua_rawgeti(L_, -1, i);
            put_value(depth);
            if (i == length)
                break;
            out_.put(',');
        }
        out_.put(']');
    }

    void put_object(int depth) {
        out_.put('{');
        bool first = true;
        lua_pushnil(L_);
        while (lua_next(L_, -2)) {
            if (!first)
                out_.put(',');
            first = false;
            switch (lua_type(L_, -2)) {
            case LUA_TNUMBER:
                out_.put('"');
                put_number(-2);
                out_.put("\":", 2);
                break;
            case LUA_TSTRING:
                put_string(-2);
                out_.put(':');
                break;
            default:
                refuse(-2, "table key must be a number or string");
            }
            put_value(depth);
        }
        out_.put('}');
    }

    // Put the value at the top, and pop it. Bounded by the depth, and by Lua's stack.
    void put_value(int depth) {
        tally_.step();
        switch (lua_type(L_, -1)) {
        case LUA_TSTRING:
            put_string(-1);
            break;
        case LUA_TNUMBER:
            put_number(-1);
            break;
        case LUA_TBOOLEAN:
            if (lua_toboolean(L_, -1))
                out_.put("true", 4);
            else
                out_.put("false", 5);
            break;
        case LUA_TNIL:
            out_.put("null", 4);
            break;
        case LUA_TTABLE: {
            depth++;
            // Key and value, and one slot more each for the buffer and an error's text.
            if (depth > settings_.encode_depth || !lua_checkstack(L_, 5))
                luaL_error(L_, "Cannot serialise, excessive nesting (%d)", depth);
            lua_resolve_at(L_, lua_gettop(L_));
            int length = array_length();
            if (length > 0)
                put_array(depth, length);
            else
                put_object(depth);
            break;
        }
        case LUA_TLIGHTUSERDATA:
            if (lua_touserdata(L_, -1) == nullptr) {
                out_.put("null", 4);
                break;
            }
            [[fallthrough]];
        default:
            refuse(-1, "type not supported");
        }
        lua_pop(L_, 1);
    }

    lua_State* L_;
    const JsonSettings& settings_;
    LuaBuffer out_;
    LuaTally tally_;
};

}  // namespace kvnode
