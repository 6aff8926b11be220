// The cjson library of scripts: encode, decode and its settings, as those of lua-cjson 2.1.0
// (Copyright (C) 2010-2012 Mark Pulford; MIT licence).
#pragma once

#include <new>

#include "lua_cjson_decode.hpp"
#include "lua_cjson_encode.hpp"

namespace kvnode {

// Upvalue 1 of each function: the settings.
inline JsonSettings* json_settings(lua_State* L) {
    return static_cast<JsonSettings*>(lua_touserdata(L, lua_upvalue_index(1)));
}

inline int json_encode(lua_State* L) {
    lua_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    JsonEncoder(L, *json_settings(L)).encode(1);
    return 1;
}

inline int json_decode(lua_State* L) {
    lua_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    if (n >= 2 && (text[0] == '\0' || text[1] == '\0'))
        luaL_error(L, "JSON parser does not support UTF-16 or UTF-32");
    JsonDecoder(L, *json_settings(L), text).decode();
    return 1;
}

// Return the settings; from now on there are `most` arguments, nil where one was left out.
inline JsonSettings* json_take_options(lua_State* L, int most) {
    lua_argcheck(L, lua_gettop(L) <= most, most + 1, "found too many arguments");
    lua_settop(L, most);
    return json_settings(L);
}

// If argument i is not nil set `setting` to it; push the setting.
inline void json_integer_option(lua_State* L, int i, int* setting, int least, int most) {
    if (lua_type(L, i) != LUA_TNIL) {
        int value = int(luaL_checkinteger(L, i));
        if (value < least || value > most)
            luaL_argerror(L, 1, lua_pushfstring(L, "expected integer between %d and %d", least, most));
        *setting = value;
    }
    lua_pushinteger(L, *setting);
}

inline void json_choice_option(lua_State* L, int i, int* setting, const char* const* names) {
    if (lua_type(L, i) == LUA_TBOOLEAN)
        *setting = lua_toboolean(L, i);
    else if (lua_type(L, i) != LUA_TNIL)
        *setting = luaL_checkoption(L, i, nullptr, names);
    if (*setting <= 1)
        lua_pushboolean(L, *setting);
    else
        lua_pushstring(L, names[*setting]);
}

static const char* const kJsonOffOn[] = {"off", "on", nullptr};
static const char* const kJsonOffOnNull[] = {"off", "on", "null", nullptr};

inline int json_encode_sparse_array(lua_State* L) {
    JsonSettings* s = json_take_options(L, 3);
    json_choice_option(L, 1, &s->sparse_convert, kJsonOffOn);
    json_integer_option(L, 2, &s->sparse_ratio, 0, INT_MAX);
    json_integer_option(L, 3, &s->sparse_safe, 0, INT_MAX);
    return 3;
}

inline int json_encode_max_depth(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_integer_option(L, 1, &s->encode_depth, 1, INT_MAX);
    return 1;
}

inline int json_decode_max_depth(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_integer_option(L, 1, &s->decode_depth, 1, INT_MAX);
    return 1;
}

inline int json_encode_number_precision(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_integer_option(L, 1, &s->precision, 1, 14);
    return 1;
}

// Has no effect: our buffers end with the call.
inline int json_encode_keep_buffer(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_choice_option(L, 1, &s->keep_buffer, kJsonOffOn);
    return 1;
}

inline int json_encode_invalid_numbers(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_choice_option(L, 1, &s->encode_invalid, kJsonOffOnNull);
    return 1;
}

inline int json_decode_invalid_numbers(lua_State* L) {
    JsonSettings* s = json_take_options(L, 1);
    json_choice_option(L, 1, &s->decode_invalid, kJsonOffOn);
    return 1;
}

// Push a library with settings of its own, and return them. Raises when memory is out.
inline JsonSettings* lua_open_cjson(lua_State* L);

inline int json_new(lua_State* L) {
    lua_open_cjson(L);
    return 1;
}

inline JsonSettings* lua_open_cjson(lua_State* L) {
    static const LuaFunction functions[] = {
        {"encode", json_encode},
        {"decode", json_decode},
        {"encode_sparse_array", json_encode_sparse_array},
        {"encode_max_depth", json_encode_max_depth},
        {"decode_max_depth", json_decode_max_depth},
        {"encode_number_precision", json_encode_number_precision},
        {"encode_keep_buffer", json_encode_keep_buffer},
        {"encode_invalid_numbers", json_encode_invalid_numbers},
        {"decode_invalid_numbers", json_decode_invalid_numbers},
        {"new", json_new},
    };
    lua_newtable(L);
    JsonSettings* settings = new (lua_newuserdata(L, sizeof(JsonSettings))) JsonSettings();
    for (const LuaFunction& f : functions) {
        lua_pushvalue(L, -1);
        lua_pushcclosure(L, f.function, 1);
        lua_setfield(L, -3, f.name);
    }
    lua_pop(L, 1);
    lua_pushlightuserdata(L, nullptr);
    lua_setfield(L, -2, "null");
    lua_pushstring(L, "cjson");
    lua_setfield(L, -2, "_NAME");
    lua_pushstring(L, "2.1.0");
    lua_setfield(L, -2, "_VERSION");
    return settings;
}

}  // namespace kvnode
