# arm64.cmake - builds for Linux on 64-bit ARM with Debian's cross compiler, and runs
# what was built, here, under qemu's emulation of such a CPU.
#
# Libraries are Debian's own for arm64, which lie beside this machine's
# (scripts/install_packages.sh arm64).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# "max" has every instruction that qemu knows, dot products among them.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-cpu;max)

# pkg-config is this machine's and would find this machine's libraries.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
