import { expired } from './refusal.ts';
import type { Stored } from './storage.ts';

type Rest = { readonly stored: readonly Stored[]; readonly version: string };

/** Lists in pages: those that follow the first are of the same revision, and are forgotten by a compaction. */
export function makePages(): {
  /** The JSON of a page; calls `all` if `token` names no running list. */
  readonly page: (
    list: { readonly kind: string; readonly apiVersion: string; readonly all: () => Rest },
    limit: number,
    token: string | null,
  ) => string;
  readonly forget: () => void;
} {
  const begun = new Map<string, Rest>();
  let tokens = 0;
  return {
    page: ({ kind, apiVersion, all }, limit, token) => {
      const rest = token === null ? all() : begun.get(token);
      if (rest === undefined) throw expired();
      const { stored, version } = rest;
      const isWhole = limit === 0 || stored.length <= limit;
      const items = isWhole ? stored : stored.slice(0, limit);
      const next = `page${(tokens += 1)}`;
      if (!isWhole) begun.set(next, { stored: stored.slice(limit), version });
      const metadata = { resourceVersion: version, ...(isWhole ? {} : { continue: next }) };
      const head = JSON.stringify({ kind: `${kind}List`, apiVersion, metadata });
      return `${head.slice(0, -1)},"items":[${items.map(({ json }) => json).join(',')}]}`;
    },
    forget: () => begun.clear(),
  };
}
