// bfloat16: the upper half of a float32, rounded to even.
#pragma once
struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x)
    {
        uint32_t word;
        memcpy(&word, &x, 4);
        bits = x != x ? 0x7fff : (word + 0x7fff + (word >> 16 & 1)) >> 16;
    }
    operator float() const
    {
        uint32_t word = (uint32_t)bits << 16;
        float x;
        memcpy(&x, &word, 4);
        return x;
    }
};
static inline float __bfloat162float(__nv_bfloat16 x) { return x; }
static inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
