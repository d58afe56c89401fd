import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../src/ports/clock.ts';
import type { SimKind } from './kinds.ts';
import type { Refusal } from './refusal.ts';
import type { Change, Storage } from './storage.ts';

/** One running watch, and the faults of it. */
export type WatchStream = {
  fail(refusal: Refusal): void;
  end(): void;
  freeze(): void;
  truncateNext(): void;
  /** Sends a bookmark with the present revision. */
  bookmark(): void;
};

export type WatchRequest = {
  readonly kind: SimKind;
  readonly namespace: string | undefined;
  /** Sends the changes after this revision; `undefined`: first all objects, as ADDED. */
  readonly from: number | undefined;
  /** A bookmark marks the end of the initial events (WatchList). */
  readonly marksInitialEnd: boolean;
  readonly timeoutMs: number;
};

const linesPerWrite = 250;

/** Answers 200 and streams: the initial events at the pace of the reader, then each change at once. */
export function openWatch(
  { kind, namespace, from, marksInitialEnd, timeoutMs }: WatchRequest,
  {
    response,
    storage,
    clock,
    knobs,
    onClose,
  }: {
    readonly response: ServerResponse;
    readonly storage: Storage;
    readonly clock: Clock;
    readonly knobs: { readonly slowMs: number; readonly splitsCharacters: boolean };
    readonly onClose: () => void;
  },
): WatchStream {
  const closed = new AbortController();
  let isFrozen = false;
  let isTruncating = false;
  let late = 0;
  let lateLines: Promise<void> = Promise.resolve();

  const write = (text: string | Uint8Array): void => {
    if (isFrozen || closed.signal.aborted) return;
    response.write(text);
  };
  const writeCut = (text: string): void => {
    if (isFrozen || closed.signal.aborted) return;
    response.end(text.slice(0, text.length / 2));
    close();
  };
  const writeSlowly = async (text: string): Promise<void> => {
    await clock.sleep(knobs.slowMs, closed.signal);
    if (!knobs.splitsCharacters) return write(text);
    for (const part of splitWithinCharacter(text)) {
      write(part);
      await clock.sleep(1, closed.signal); // so that the reader gets the first part alone
    }
  };
  /** In order, even if some are late. */
  const send = (text: string): void => {
    if (isTruncating) return writeCut(text);
    if (late === 0 && knobs.slowMs === 0 && !knobs.splitsCharacters) return write(text);
    late += 1;
    lateLines = lateLines
      .then(() => writeSlowly(text))
      .catch(() => undefined) // the watch is closed
      .finally(() => {
        late -= 1;
      });
  };

  const close = (): void => {
    if (closed.signal.aborted) return;
    closed.abort();
    unsubscribe();
    onClose();
  };
  const finish = (): void => {
    if (isFrozen || closed.signal.aborted) return;
    if (late > 0) return void lateLines.then(finish);
    response.end();
    close();
  };

  /** A watch from a future version is silent until then, as with the real API server. */
  const isNews = (revision: number): boolean => from === undefined || revision > from;
  const bookmark = (annotations?: Readonly<Record<string, string>>): void => {
    if (!isNews(storage.revision)) return;
    const metadata = { resourceVersion: storage.versionText(storage.revision), ...(annotations && { annotations }) };
    send(line('BOOKMARK', { kind: kind.kind, apiVersion: kind.apiVersion, metadata }));
  };

  const isWanted = (change: Change): boolean =>
    isNews(change.revision) && change.kind === kind && (namespace === undefined || change.namespace === namespace);
  let meanwhile: string[] | undefined = [];
  const unsubscribe = storage.subscribe((change) => {
    if (!isWanted(change)) return;
    if (meanwhile === undefined) send(change.line);
    else meanwhile.push(change.line);
  });
  const endInTime = async (): Promise<void> => {
    await clock.sleep(timeoutMs, closed.signal);
    bookmark();
    finish();
  };
  endInTime().catch(() => undefined); // the watch is closed
  response.on('close', close);
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();

  const first =
    from === undefined
      ? storage.list(kind, namespace).map(({ json }) => `{"type":"ADDED","object":${json}}\n`)
      : storage.since(from, kind, namespace).map((change) => change.line);
  const version = storage.versionText(storage.revision);
  const start = async (): Promise<void> => {
    for (let index = 0; index < first.length; index += linesPerWrite) {
      send(first.slice(index, index + linesPerWrite).join(''));
      if (response.writableNeedDrain) await once(response, 'drain', { signal: closed.signal });
    }
    if (marksInitialEnd) {
      const metadata = { resourceVersion: version, annotations: { 'k8s.io/initial-events-end': 'true' } };
      send(line('BOOKMARK', { kind: kind.kind, apiVersion: kind.apiVersion, metadata }));
    }
    for (const text of meanwhile ?? []) send(text);
    meanwhile = undefined;
  };
  start().catch(close); // the reader has disconnected

  return {
    fail: (refusal) => {
      send(line('ERROR', refusal));
      finish();
    },
    end: finish,
    freeze: () => {
      isFrozen = true;
    },
    truncateNext: () => {
      isTruncating = true;
    },
    bookmark: () => bookmark(),
  };
}

function line(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** Two chunks, the first of which ends in the middle of a character of several bytes, if there is one. */
function splitWithinCharacter(text: string): readonly Uint8Array[] {
  const bytes = new TextEncoder().encode(text);
  const lead = bytes.findIndex((byte) => byte >= 0xc0);
  const at = lead < 0 ? Math.ceil(bytes.length / 2) : lead + 1;
  return [bytes.subarray(0, at), bytes.subarray(at)];
}
