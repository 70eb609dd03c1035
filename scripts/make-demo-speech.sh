#!/bin/sh
# Makes the sentences that the built-in caller speaks (src/demo/speech-*.wav, 8 kHz mono 16-bit), from Debian's flite
# (English), espeak-ng (Mandarin) and sox. The results are committed; run this only to change them.
set -eu
cd "$(dirname "$0")/../src/demo"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

finish() { # finish IN OUT: telephone band, steady level, no silence at either end
  sox "$1" -r 8000 -c 1 -b 16 "$2" highpass 150 gain -n -6 silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse
}

flite -voice slt -t "Hello. Could you tell me what you can do?" -o "$work/en.wav"
finish "$work/en.wav" speech-en.wav
espeak-ng -v cmn-latn-pinyin -s 150 -w "$work/zh.wav" "你好，请问你能做什么？"
finish "$work/zh.wav" speech-zh.wav
flite -voice slt -t "Wait, wait. One moment please." -o "$work/interrupt.wav"
finish "$work/interrupt.wav" speech-interrupt.wav
