/**
 * The outcome of a check: `ok`, `warning` (works, but needs attention), `problem` (furiwake cannot do its job), `omitted` (was not made,
 * because of a problem).
 */
export type Mark = 'ok' | 'warning' | 'problem' | 'omitted';

/** One result of a check. `advice`: what to do, if anything. `what`: its subject, if that is not the name of the check. */
export type Finding = { readonly mark: Mark; readonly found: string; readonly advice?: string; readonly what?: string };

/** Something that is not as it should be, which may not matter here, and what to do. */
export type Concern = { readonly found: string; readonly advice: string };

/** The parts of the report, in their order. */
export type Group =
  | 'This host'
  | 'HAProxy'
  | 'Kernel'
  | 'API server'
  | 'Permissions'
  | 'Nodes and Services'
  | 'Address pool';

export type GroupedFinding = Finding & { readonly group: Group; readonly what: string };

export function ok(found: string): Finding {
  return { mark: 'ok', found };
}

export function warning(found: string, advice: string): Finding {
  return { mark: 'warning', found, advice };
}

export function problem(found: string, advice: string): Finding {
  return { mark: 'problem', found, advice };
}

/** `lack`: what the check needs: `needs root`. */
export function omitted(lack: string): Finding {
  return { mark: 'omitted', found: `not checked: ${lack}` };
}

/** The finding, with a subject of its own. */
export function about(what: string, finding: Finding): Finding {
  return { ...finding, what };
}

const mostNamed = 5;

/** The first five of them, and how many more there are. */
export function named(items: readonly string[]): string {
  const rest = items.length > mostNamed ? [`and ${items.length - mostNamed} more`] : [];
  return [...items.slice(0, mostNamed), ...rest].join(', ');
}

/** `1 node`, `2 nodes`. */
export function counted(count: number | bigint, one: string, many: string = `${one}s`): string {
  return `${count} ${BigInt(count) === 1n ? one : many}`;
}
