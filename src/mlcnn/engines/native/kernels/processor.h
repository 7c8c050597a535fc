/* Whether this processor has the instructions that the compiler was allowed to use. */
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__AVXVNNI__) /* which older compilers do not ask for */
static int has_avxvnni(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}
#endif
#define WITHOUT(FEATURE) !__builtin_cpu_supports(FEATURE) ||
static int runs_here(void) {
  __builtin_cpu_init();
  return !(
#if defined(__SSE4_2__)
      WITHOUT("ssse3") WITHOUT("sse4.2") WITHOUT("popcnt")
#endif
#if defined(__AVX__)
      WITHOUT("avx")
#endif
#if defined(__AVX2__)
      WITHOUT("avx2")
#endif
#if defined(__FMA__)
      WITHOUT("fma")
#endif
#if defined(__BMI2__)
      WITHOUT("bmi") WITHOUT("bmi2")
#endif
#if defined(__AVX512F__)
      WITHOUT("avx512f")
#endif
#if defined(__AVX512BW__)
      WITHOUT("avx512bw")
#endif
#if defined(__AVX512CD__)
      WITHOUT("avx512cd")
#endif
#if defined(__AVX512DQ__)
      WITHOUT("avx512dq")
#endif
#if defined(__AVX512VL__)
      WITHOUT("avx512vl")
#endif
#if defined(__AVX512VBMI__)
      WITHOUT("avx512vbmi")
#endif
#if defined(__AVX512VNNI__)
      WITHOUT("avx512vnni")
#endif
#if defined(__AVX512VPOPCNTDQ__)
      WITHOUT("avx512vpopcntdq")
#endif
#if defined(__AVXVNNI__)
      !has_avxvnni() ||
#endif
      0);
}
#else
static int runs_here(void) { return 1; }
#endif
