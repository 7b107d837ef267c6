(; @file The matrix products of a web page, assembled into kernel.wasm by scripts/kernel.mjs. `matrix` [rows, columns] times
`x` [tokens, columns] into `out` [tokens, rows], all float32, at byte addresses; `columns` is a multiple of 16. A sum is 16
partial sums, in the same order for any number of tokens. A row of the matrix is read from memory once for all tokens. ;)
(module
  (import "page" "memory" (memory 1))

  (func $total (param $a v128) (param $b v128) (param $c v128) (param $d v128) (result f32) (local $sum v128)
    (local.set $sum (f32x4.add (f32x4.add (local.get $a) (local.get $b)) (f32x4.add (local.get $c) (local.get $d))))
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $sum)) (f32x4.extract_lane 1 (local.get $sum)))
      (f32.add (f32x4.extract_lane 2 (local.get $sum)) (f32x4.extract_lane 3 (local.get $sum)))))

  (func (export "multiply")
    (param $matrix i32) (param $rows i32) (param $columns i32) (param $x i32) (param $tokens i32) (param $out i32)
    (local $row i32) (local $token i32) (local $p i32) (local $q i32) (local $end i32) (local $bytes i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $bytes (i32.shl (local.get $columns) (i32.const 2)))
    (loop $each_row
      (local.set $token (i32.const 0))
      (local.set $q (local.get $x))
      (loop $each_token
        (local.set $p (local.get $matrix))
        (local.set $end (i32.add (local.get $q) (local.get $bytes)))
        (local.set $a (v128.const i32x4 0 0 0 0))
        (local.set $b (local.get $a))
        (local.set $c (local.get $a))
        (local.set $d (local.get $a))
        (loop $each_column
          (local.set $a (f32x4.add (local.get $a) (f32x4.mul (v128.load (local.get $p)) (v128.load (local.get $q)))))
          (local.set $b (f32x4.add (local.get $b) (f32x4.mul (v128.load offset=16 (local.get $p)) (v128.load offset=16 (local.get $q)))))
          (local.set $c (f32x4.add (local.get $c) (f32x4.mul (v128.load offset=32 (local.get $p)) (v128.load offset=32 (local.get $q)))))
          (local.set $d (f32x4.add (local.get $d) (f32x4.mul (v128.load offset=48 (local.get $p)) (v128.load offset=48 (local.get $q)))))
          (local.set $p (i32.add (local.get $p) (i32.const 64)))
          (br_if $each_column (i32.ne (local.tee $q (i32.add (local.get $q) (i32.const 64))) (local.get $end))))
        (f32.store
          (i32.add (local.get $out) (i32.shl (i32.add (i32.mul (local.get $token) (local.get $rows)) (local.get $row)) (i32.const 2)))
          (call $total (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
        (br_if $each_token (i32.ne (local.tee $token (i32.add (local.get $token) (i32.const 1))) (local.get $tokens))))
      (local.set $matrix (i32.add (local.get $matrix) (local.get $bytes)))
      (br_if $each_row (i32.ne (local.tee $row (i32.add (local.get $row) (i32.const 1))) (local.get $rows))))))
