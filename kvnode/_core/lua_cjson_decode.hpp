// cjson.decode: JSON as a Lua value, with the leniencies and the error texts of lua-cjson 2.1.0.
#pragma once

#include <cstdlib>
#include <cstring>
#include <strings.h>

#include "lua_buffer.hpp"

namespace kvnode {

class JsonDecoder {
  public:
    // text: bytes of a Lua string, so a zero byte follows them.
    JsonDecoder(lua_State* L, const JsonSettings& settings, const char* text)
        : L_(L), settings_(settings), unescaped_(L), tally_{L}, text_(text), at_(text) {}

    // Push the value.
    void decode() {
        next();
        put_value();
        next();
        if (token_ != kEnd)
            refuse("the end");
        tally_.pay();
    }

  private:
    enum Token {
        kObjectBegin, kObjectEnd, kArrayBegin, kArrayEnd, kString, kNumber, kBoolean, kNull, kColon,
        kComma, kEnd, kError,
    };

    [[noreturn]] void refuse(const char* expected) {
        static const char* const names[] = {
            "T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER",
            "T_BOOLEAN", "T_NULL", "T_COLON", "T_COMMA", "T_END",
        };
        const char* found = token_ == kError ? error_ : names[token_];
        luaL_error(L_, "Expected %s but found %s at character %d", expected, found,
                   int(token_at_ - text_) + 1);
        abort();
    }

    void fail(const char* error) {
        token_ = kError;
        token_at_ = at_;
        error_ = error;
    }

    // Read the next token. A string is left at string_, string_n_ until the next call.
    void next() {
        tally_.step(kValueSteps);
        while (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r') {
            tally_.step();
            at_++;
        }
        token_at_ = at_;
        switch (*at_) {
        case '{': single(kObjectBegin); return;
        case '}': single(kObjectEnd); return;
        case '[': single(kArrayBegin); return;
        case ']': single(kArrayEnd); return;
        case ',': single(kComma); return;
        case ':': single(kColon); return;
        case '\0': token_ = kEnd; return;
        case '"': read_string(); return;
        case '-':
        case '0': case '1': case '2': case '3': case '4':
        case '5': case '6': case '7': case '8': case '9':
            if (!settings_.decode_invalid && is_invalid_number())
                fail("invalid number");
            else
                read_number();
            return;
        case 't':
            if (word("true", 4)) {
                token_ = kBoolean;
                boolean_ = true;
                return;
            }
            break;
        case 'f':
            if (word("false", 5)) {
                token_ = kBoolean;
                boolean_ = false;
                return;
            }
            break;
        case 'n':
            if (word("null", 4)) {
                token_ = kNull;
                return;
            }
            break;
        case 'i': case 'I': case 'N': case '+':
            break;
        default:
            fail("invalid token");
            return;
        }
        if (settings_.decode_invalid && is_invalid_number())
            read_number();
        else
            fail("invalid token");
    }

    void single(Token token) {
        token_ = token;
        at_++;
    }

    bool word(const char* text, size_t n) {
        if (strncmp(at_, text, n) != 0)
            return false;
        at_ += n;
        return true;
    }

    // Whether strtod may take what JSON does not allow: +1, 0x1, 01, inf, nan.
    bool is_invalid_number() const {
        const char* p = at_;
        if (*p == '+')
            return true;
        if (*p == '-')
            p++;
        if (*p == '0')
            return (p[1] | 0x20) == 'x' || ('0' <= p[1] && p[1] <= '9');
        if (*p <= '9')
            return false;
        return strncasecmp(p, "inf", 3) == 0 || strncasecmp(p, "nan", 3) == 0;
    }

    void read_number() {
        token_ = kNumber;
        // Integers of up to 15 digits without strtod; a double holds them exactly.
        const char* p = at_;
        bool negative = *p == '-';
        if (negative)
            p++;
        int64_t n = 0;
        int digits = 0;
        for (; '0' <= *p && *p <= '9' && digits <= 15; p++, digits++)
            n = n * 10 + (*p - '0');
        char c = *p;
        if (digits > 0 && digits <= 15 && c != '.' && (c | 0x20) != 'e' && (c | 0x20) != 'x') {
            number_ = negative ? -double(n) : double(n);
            at_ = p;
            return;
        }
        char* end;
        number_ = strtod(at_, &end);
        if (end == at_) {
            fail("invalid number");
            return;
        }
        for (ptrdiff_t done = 0; done < end - at_; done += 16)
            tally_.step();
        at_ = end;
    }

    void read_string() {
        const char* begin = ++at_;
        while (*at_ != '"' && *at_ != '\\' && *at_ != '\0')
            at_++;
        lua_spend(L_, size_t(at_ - begin) / 16);
        token_ = kString;
        if (*at_ == '"') {                      // nothing escaped: no copy
            string_ = begin;
            string_n_ = size_t(at_ - begin);
            at_++;
            return;
        }
        unescaped_.clear();
        unescaped_.put(begin, size_t(at_ - begin));
        while (*at_ != '"') {
            tally_.step();
            if (*at_ == '\0') {
                fail("unexpected end of string");
                return;
            }
            if (*at_ != '\\') {
                unescaped_.put(*at_++);
                continue;
            }
            char plain = unescape(at_[1]);
            if (plain == 'u') {
                if (!read_unicode()) {
                    fail("invalid unicode escape code");
                    return;
                }
                continue;
            }
            if (plain == '\0') {
                fail("invalid escape code");
                return;
            }
            unescaped_.put(plain);
            at_ += 2;
        }
        at_++;
        string_ = unescaped_.data();
        string_n_ = unescaped_.size();
    }

    static char unescape(char c) {
        switch (c) {
        case '"':
        case '\\':
        case '/':
        case 'u': return c;
        case 'b': return '\b';
        case 't': return '\t';
        case 'n': return '\n';
        case 'f': return '\f';
        case 'r': return '\r';
        default: return '\0';
        }
    }

    // Return the four hexadecimal digits at p, or -1. Stops at the zero byte.
    static int hex4(const char* p) {
        int n = 0;
        for (int i = 0; i < 4; i++) {
            char c = p[i], letter = char(c | 0x20);
            if ('0' <= c && c <= '9')
                n = n * 16 + (c - '0');
            else if ('a' <= letter && letter <= 'f')
                n = n * 16 + (letter - 'a' + 10);
            else
                return -1;
        }
        return n;
    }

    // Read \uXXXX, or a pair of surrogates, at at_.
    bool read_unicode() {
        int code = hex4(at_ + 2);
        if (code < 0)
            return false;
        int n = 6;
        if ((code & 0xF800) == 0xD800) {
            if ((code & 0x400) != 0 || at_[6] != '\\' || at_[7] != 'u')
                return false;
            int low = hex4(at_ + 8);
            if (low < 0 || (low & 0xFC00) != 0xDC00)
                return false;
            code = (((code & 0x3FF) << 10) | (low & 0x3FF)) + 0x10000;
            n = 12;
        }
        if (code <= 0x7F) {
            unescaped_.put(char(code));
        } else if (code <= 0x7FF) {
            unescaped_.put(char(0xC0 | (code >> 6)));
            unescaped_.put(char(0x80 | (code & 0x3F)));
        } else if (code <= 0xFFFF) {
            unescaped_.put(char(0xE0 | (code >> 12)));
            unescaped_.put(char(0x80 | ((code >> 6) & 0x3F)));
            unescaped_.put(char(0x80 | (code & 0x3F)));
        } else {
            unescaped_.put(char(0xF0 | (code >> 18)));
            unescaped_.put(char(0x80 | ((code >> 12) & 0x3F)));
            unescaped_.put(char(0x80 | ((code >> 6) & 0x3F)));
            unescaped_.put(char(0x80 | (code & 0x3F)));
        }
        at_ += n;
        return true;
    }

    // slots: for the table and what is put into it; one more is for the buffer.
    void descend(int slots) {
        tally_.step(kTableSteps);
        depth_++;
        if (depth_ > settings_.decode_depth || !lua_checkstack(L_, slots + 2))
            luaL_error(L_, "Found too many nested data structures (%d) at character %d", depth_,
                       int(at_ - text_));
    }

    // Push the value that begins with the token that was read. The recursion is bounded by the
    // setting, and by Lua's stack.
    void put_value() {
        switch (token_) {
        case kString:
            lua_pushlstring(L_, string_, string_n_);
            break;
        case kNumber:
            lua_pushnumber(L_, number_);
            break;
        case kBoolean:
            lua_pushboolean(L_, boolean_);
            break;
        case kNull:
            lua_pushlightuserdata(L_, nullptr);
            break;
        case kObjectBegin:
            put_object();
            break;
        case kArrayBegin:
            put_array();
            break;
        default:
            refuse("value");
        }
    }

    void put_object() {
        descend(3);
        lua_newtable(L_);
        next();
        if (token_ != kObjectEnd) {
            for (;;) {
                if (token_ != kString)
                    refuse("object key string");
                lua_pushlstring(L_, string_, string_n_);
                next();
                if (token_ != kColon)
                    refuse("colon");
                next();
                put_value();
                lua_rawset(L_, -3);
                next();
                if (token_ == kObjectEnd)
                    break;
                if (token_ != kComma)
                    refuse("comma or object end");
                next();
            }
        }
        depth_--;
    }

    void put_array() {
        descend(2);
        lua_newtable(L_);
        next();
        if (token_ != kArrayEnd) {
            for (int i = 1;; i++) {
                put_value();
                lua_rawseti(L_, -2, i);
                next();
                if (token_ == kArrayEnd)
                    break;
                if (token_ != kComma)
                    refuse("comma or array end");
                next();
            }
        }
        depth_--;
    }

    lua_State* L_;
    const JsonSettings& settings_;
    LuaBuffer unescaped_;
    LuaTally tally_;
    const char* text_;
    const char* at_;
    int depth_ = 0;
    Token token_ = kEnd;
    const char* token_at_ = nullptr;
    const char* error_ = nullptr;
    const char* string_ = nullptr;
    size_t string_n_ = 0;
    double number_ = 0;
    bool boolean_ = false;
};

}  // namespace kvnode
