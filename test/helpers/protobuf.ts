/** @file Reads the protobuf wire format (protobuf.dev/programming-guides/encoding), independent of the code that writes it. */

/** The fields of a message: varints as bigint, everything else as its bytes. */
export function fields(data: Buffer): { field: number; value: bigint | Buffer }[] {
  const result: { field: number; value: bigint | Buffer }[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (count: number) => {
    at += count;
    return data.subarray(at - count, at);
  };
  while (at < data.length) {
    const key = Number(varint());
    const wire = key % 8;
    const value = wire === 0 ? varint() : wire === 1 ? take(8) : wire === 5 ? take(4) : take(Number(varint()));
    result.push({ field: key >> 3, value });
  }
  return result;
}
