import type { ElementCounter } from './element-counters.ts';
import type { TableSpec } from './table-text.ts';

/*
 * Netlink messages about elements of a set, see nf_tables.h and netlink(7). Numbers have the byte order of the host; those of a
 * packet, and the counters, the one of the network.
 *
 *   header      length, type, flags, sequence, port (16 bytes)          attribute  length, number, value, filled up to 4 bytes
 *   nfgenmsg    family, version, resource (4 bytes)
 *   attributes  1 table, 2 set, 3 elements ─► 1 element ─► 1 key     ─► 1 value
 *                                                       └► 7 expression ─► 1 name, 2 data ─► 1 bytes, 2 packets
 */
const getSetElement = 0x0a0d; // NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
const newSetElement = 0x0a0c; // the answer
const isRequest = 0x1; // NLM_F_REQUEST
const isAcknowledged = 0x4; // NLM_F_ACK
const isDump = 0x300; // NLM_F_DUMP
const wasInterrupted = 0x10; // NLM_F_DUMP_INTR
const nested = 0x8000;
const headBytes = 20;

/** Asks for one element, by its key as `element-keys.ts` writes it. The kernel answers with it and an acknowledgement, or with an error. */
export function elementRequest(table: Pick<TableSpec, 'name' | 'family'>, set: string, key: string): Buffer {
  const value = attribute(1, Buffer.from(key, 'hex'));
  const elements = attribute(nested | 3, attribute(nested | 1, attribute(nested | 1, value)));
  return message(table, isAcknowledged, set, elements);
}

/** Asks for all elements. The kernel answers with them and an end, or with an error. */
export function dumpRequest(table: Pick<TableSpec, 'name' | 'family'>, set: string): Buffer {
  return message(table, isDump, set, Buffer.alloc(0));
}

function message(
  { name, family }: Pick<TableSpec, 'name' | 'family'>,
  flags: number,
  set: string,
  rest: Buffer,
): Buffer {
  const texts = [name.split(' ')[1] ?? '', set].map((text, index) => attribute(index + 1, Buffer.from(`${text}\0`)));
  const attributes = Buffer.concat([...texts, rest]);
  const head = Buffer.alloc(headBytes);
  new Uint32Array(head.buffer, head.byteOffset, 1)[0] = headBytes + attributes.length;
  new Uint16Array(head.buffer, head.byteOffset + 4, 2).set([getSetElement, isRequest | flags]);
  head[16] = family;
  return Buffer.concat([head, attributes]);
}

function attribute(number: number, value: Buffer): Buffer {
  const whole = Buffer.alloc((4 + value.length + 3) & ~3);
  new Uint16Array(whole.buffer, whole.byteOffset, 2).set([4 + value.length, number]);
  value.copy(whole, 4);
  return whole;
}

/**
 * Calls `found` for each element that has counted a packet. False: a set changed while the kernel listed it, so
 * elements may be missing.
 */
export function readElements(
  batch: Buffer,
  found: (set: string, key: string, counter: ElementCounter) => void,
): boolean {
  const words = new Uint16Array(batch.buffer, batch.byteOffset, batch.length >>> 1);
  const lengths = new Uint32Array(batch.buffer, batch.byteOffset, batch.length >>> 2);
  let isWhole = true;
  /** Calls `visit` with the number of each attribute between two positions, and the start and end of its value. */
  const each = (start: number, end: number, visit: (number: number, from: number, to: number) => void): void => {
    for (let at = start; at + 4 <= end;) {
      const length = words[at >>> 1] ?? 0;
      if (length < 4 || at + length > end) return;
      visit((words[(at >>> 1) + 1] ?? 0) & 0x3fff, at + 4, at + length);
      at += (length + 3) & ~3;
    }
  };
  const count = (at: number): number => batch.readUInt32BE(at) * 2 ** 32 + batch.readUInt32BE(at + 4);
  const readElement = (set: string, start: number, end: number): void => {
    let [keyStart, keyEnd, bytes, packets] = [0, 0, 0, 0];
    const readExpression = (from: number, to: number): void => {
      let isCounter = false;
      each(from, to, (number, at, until) => {
        if (number === 1) isCounter = batch.toString('latin1', at, until - 1) === 'counter';
        else if (isCounter)
          each(at, until, (figure, value) => {
            if (figure === 1) bytes = count(value);
            else if (figure === 2) packets = count(value);
          });
      });
    };
    each(start, end, (number, from, to) => {
      if (number === 1) each(from, to, (_, at, until) => ([keyStart, keyEnd] = [at, until]));
      else if (number === 7) readExpression(from, to);
    });
    if (packets > 0) found(set, batch.toString('hex', keyStart, keyEnd), { packets, bytes });
  };
  for (let at = 0; at + headBytes <= batch.length;) {
    const length = lengths[at >>> 2] ?? 0;
    const [type = 0, flags = 0] = words.subarray((at >>> 1) + 2, (at >>> 1) + 4);
    if (length < 16 || at + length > batch.length) break;
    if ((flags & wasInterrupted) !== 0) isWhole = false;
    let set = '';
    if (type === newSetElement)
      each(at + headBytes, at + length, (number, from, to) => {
        if (number === 2) set = batch.toString('latin1', from, to - 1);
        else if (number === 3) each(from, to, (_, start, end) => readElement(set, start, end));
      });
    at += (length + 3) & ~3;
  }
  return isWhole;
}
