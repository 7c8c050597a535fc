/* The weights of @NAME@ as read-only data, from a cache line on. */
#ifndef WEIGHTS
#define WEIGHTS "@NAME@_weights.bin"
#endif
        .section .rodata
        .balign 64
        .globl @NAME@_weights
        .hidden @NAME@_weights
        .type @NAME@_weights, %object
@NAME@_weights:
        .incbin WEIGHTS
        .size @NAME@_weights, . - @NAME@_weights
        .section .note.GNU-stack, "", %progbits
