"""CPU flags as Linux lists them, in files like /proc/cpuinfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Flags as kernels list them: of a Haswell and of a Cascade Lake machine.
HASWELL = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ss ht "
    "syscall nx pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology nonstop_tsc cpuid tsc_known_freq pni "
    "pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx f16c rdrand hypervisor "
    "lahf_lm abm invpcid_single pti ssbd ibrs ibpb stibp fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms invpcid"
)
CASCADELAKE = f"{HASWELL} rdseed adx avx512f avx512dq clwb avx512cd avx512bw avx512vl avx512_vnni"


def cpuinfo(folder: Path, flags: str) -> Path:
    """A /proc/cpuinfo of two cores with these flags."""
    core = f"processor\t: 0\nmodel name\t: Some CPU @ 2.30GHz\nflags\t\t: {flags}\nbogomips\t: 4600.00\n\n"
    path = folder / "cpuinfo"
    path.write_text(core * 2, encoding="utf-8")
    return path
