#include "textflag.h"

DATA quote<>+0(SB)/1, $0x22
GLOBL quote<>(SB), RODATA|NOPTR, $1
DATA backslash<>+0(SB)/1, $0x5c
GLOBL backslash<>(SB), RODATA|NOPTR, $1
DATA space<>+0(SB)/1, $0x20
GLOBL space<>(SB), RODATA|NOPTR, $1

// func copyBlocks(dst, src *byte, n int) int
//
// Thirty-two bytes a turn. A byte is special when it equals one of the two, or is less than a space as a signed number: that
// takes control characters and all that is not ASCII.
TEXT ·copyBlocks(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	XORQ AX, AX
	VPBROADCASTB quote<>(SB), Y5
	VPBROADCASTB backslash<>(SB), Y6
	VPBROADCASTB space<>(SB), Y7
	SUBQ $32, CX
	JLT  done

loop:
	VMOVDQU   (SI)(AX*1), Y0
	VMOVDQU   Y0, (DI)(AX*1)
	VPCMPEQB  Y0, Y5, Y1
	VPCMPEQB  Y0, Y6, Y2
	VPCMPGTB  Y0, Y7, Y3
	VPOR      Y1, Y2, Y1
	VPOR      Y3, Y1, Y1
	VPMOVMSKB Y1, BX
	TESTL     BX, BX
	JNZ       found
	ADDQ      $32, AX
	CMPQ      AX, CX
	JLE       loop

done:
	VZEROUPPER
	MOVQ AX, ret+24(FP)
	RET

found:
	BSFL BX, BX
	ADDQ BX, AX
	VZEROUPPER
	MOVQ AX, ret+24(FP)
	RET

// func asciiBlocks(src *byte, n int) int
//
// The high bits of thirty-two bytes a turn.
TEXT ·asciiBlocks(SB), NOSPLIT, $0-24
	MOVQ src+0(FP), SI
	MOVQ n+8(FP), CX
	XORQ AX, AX
	SUBQ $32, CX
	JLT  end

next:
	VMOVDQU   (SI)(AX*1), Y0
	VPMOVMSKB Y0, BX
	TESTL     BX, BX
	JNZ       high
	ADDQ      $32, AX
	CMPQ      AX, CX
	JLE       next

end:
	VZEROUPPER
	MOVQ AX, ret+16(FP)
	RET

high:
	BSFL BX, BX
	ADDQ BX, AX
	VZEROUPPER
	MOVQ AX, ret+16(FP)
	RET
