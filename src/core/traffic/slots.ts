/** A server that takes a share of the flows. */
export type Share = { readonly name: string; readonly weight: number };

/**
 * Which server takes the flows of each slot: weighted rendezvous hashing, slot by slot. The result depends on nothing but the
 * arguments, so every host, and a host after a restart, sends a flow to the same server. When a server leaves, only its own
 * slots change; when one joins, it takes its share and no other slot changes. An empty list without servers.
 *
 * Thaler and Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005: the score is `-weight / ln(hash)`.
 */
export function planSlots(servers: readonly Share[], slots: number): readonly string[] {
  if (servers.length === 0) return [];
  const seeded = servers.map(({ name, weight }) => ({ name, weight, seed: hashOf(name) }));
  return Array.from({ length: slots }, (_, slot) => {
    let best = { name: '', score: -1 };
    for (const { name, weight, seed } of seeded) {
      const score = -weight / Math.log((mix(seed ^ mix(slot)) + 0.5) / 2 ** 32);
      if (score > best.score || (score === best.score && name < best.name)) best = { name, score };
    }
    return best.name;
  });
}

/** FNV-1a over UTF-16 code units, mixed. Unsigned, 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** The finalizer of MurmurHash3: each bit of the input changes half of the output. Unsigned, 32 bits. */
function mix(value: number): number {
  let hash = Math.imul((value ^ (value >>> 16)) + 0x9e3779b9, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
