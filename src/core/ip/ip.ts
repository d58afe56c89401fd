/** An IP family, by its version number. */
export type Family = 4 | 6;

export const families: readonly [4, 6] = [4, 6];

/**
 * One IP address. `value` is the address as an unsigned integer of 32 or 128 bits, `text` its canonical form
 * (dotted quad; RFC 5952 for IPv6), so two equal addresses have equal texts.
 */
export type Ip = { readonly family: Family; readonly value: bigint; readonly text: string };

/** Width of an address of `family` in bits. */
export function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** The highest address value of `family`. */
export function maxValue(family: Family): bigint {
  return (1n << BigInt(bitsOf(family))) - 1n;
}

/**
 * Parses an address strictly: four decimal octets without leading zeros, or IPv6 text as in RFC 4291 §2.2 without
 * a zone. Anything else (short forms, octal numbers, blanks) is `undefined`.
 */
export function parseIp(text: string): Ip | undefined {
  return text.includes(':') ? parseIp6(text) : parseIp4(text);
}

/** The address of `family` with this integer value; throws `RangeError` when it does not fit. */
export function ipOf(family: Family, value: bigint): Ip {
  if (value < 0n || value > maxValue(family)) throw new RangeError(`${value} is not an IPv${family} address`);
  return { family, value, text: family === 4 ? formatIp4(value) : formatIp6(value) };
}

function parseIp4(text: string): Ip | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    const octet = parseDecimal(part, 3);
    if (octet === undefined || octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return { family: 4, value: BigInt(value), text };
}

/** Parses a decimal number of at most `maxDigits` digits, without sign, blanks or leading zeros. */
export function parseDecimal(text: string, maxDigits: number): number | undefined {
  if (text.length === 0 || text.length > maxDigits) return undefined;
  if (text.length > 1 && text.charCodeAt(0) === 48) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

function parseIp6(text: string): Ip | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array.from({ length: missing }, () => 0), ...tail])
    value = (value << 16n) | BigInt(group);
  return ipOf(6, value);
}

/** The 16-bit groups of one side of `::`; only the last group of the whole address may be a dotted quad. */
function parseGroups(side: string, isLast: boolean): number[] | undefined {
  if (side === '') return [];
  const groups: number[] = [];
  const parts = side.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = isLast && index === parts.length - 1 ? parseIp4(part) : undefined;
      if (quad === undefined) return undefined;
      groups.push(Number(quad.value >> 16n), Number(quad.value & 0xffffn));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function formatIp4(value: bigint): string {
  const n = Number(value);
  return `${Math.floor(n / 0x1000000)}.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIp6(value: bigint): string {
  if (value >> 32n === 0xffffn) return `::ffff:${formatIp4(value & 0xffffffffn)}`;
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (start < 0) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}
