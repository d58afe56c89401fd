import type { SimObject } from './kinds.ts';
import { Refusal } from './refusal.ts';
import type { WatchStream } from './watch-stream.ts';

/** One request in the log. `verb` as in RBAC, with `apply` for server-side apply. */
export type RequestRecord = {
  readonly verb: string;
  /** Plural, with `/status` for that subresource. */
  readonly resource: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** HTTP status; 0 without an answer, or before it. */
  status: number;
  /** False after it was answered, or failed. */
  isOpen: boolean;
};

/** A fault of a request, instead of an answer. */
export type Mishap =
  | {
      readonly answer: number;
      readonly reason?: string;
      readonly message?: string;
      readonly retryAfterSeconds?: number;
      readonly causes?: readonly object[];
    }
  /** The connection is reset before the request is executed. */
  | 'reset'
  /** The request is executed, and the connection is reset instead of an answer. */
  | 'lost-answer'
  /** There is never an answer. */
  | 'hang'
  /** A watch answers 200 and ends. */
  | 'end-at-once'
  /** A watch answers 200 and sends something that is not JSON. */
  | 'garbage';

export type RequestFault = {
  readonly mishap: Mishap;
  /** Which requests; default: all. */
  readonly on?: (request: RequestRecord) => boolean;
  /** How many of them; default 1. */
  readonly times?: number;
};

/** Properties stay until they are set again; functions act once, on running watches and connections. */
export type Faults = {
  watchList: 'on' | 'refused' | 'ignored';
  /** The delay of each line of a watch. */
  slowMs: number;
  /** Chunks end within a UTF-8 character. */
  splitsCharacters: boolean;
  /** Bearer tokens that are accepted; `undefined`: requests need none. */
  tokens: ReadonlySet<string> | undefined;
  /** Every connection is reset as soon as it is opened. */
  isDown: boolean;
  /** A mutating admission plugin: what is stored of a Service instead of what a request writes. Default: the same. */
  admit: (service: SimObject) => SimObject;
  /** The next requests that match fail. */
  next(fault: RequestFault): void;
  /** Running watches get an ERROR event with this status (410: expired) and end. */
  failWatches(status: number): void;
  /** Running watches end, as after their timeout. */
  endWatches(): void;
  /** Running watches are silent from now on, with open sockets: half-open for the client. */
  freezeWatches(): void;
  /** The next line of each running watch is cut in the middle, and the stream ends there. */
  truncateWatches(): void;
  /** All connections are reset. */
  resetConnections(): void;
  /** Like a restart of the server: connections are reset, and the history of changes and pages is lost. */
  restart(): void;
};

export type FaultDeps = {
  readonly watches: ReadonlySet<WatchStream>;
  readonly resetConnections: () => void;
  readonly forgetHistory: () => void;
};

/** The faults, and `take`, with which the server gets the mishap of a request, once. */
export function makeFaults({ watches, resetConnections, forgetHistory }: FaultDeps): {
  readonly faults: Faults;
  readonly take: (request: RequestRecord) => Mishap | undefined;
} {
  const pending: { readonly fault: RequestFault; left: number }[] = [];
  const toAll = (act: (watch: WatchStream) => void): void => {
    for (const watch of watches) act(watch);
  };
  const faults: Faults = {
    watchList: 'on',
    slowMs: 0,
    splitsCharacters: false,
    tokens: undefined,
    isDown: false,
    admit: (service) => service,
    next: (fault) => void pending.push({ fault, left: fault.times ?? 1 }),
    failWatches: (status) => toAll((watch) => watch.fail(refusalOf({ answer: status }))),
    endWatches: () => toAll((watch) => watch.end()),
    freezeWatches: () => toAll((watch) => watch.freeze()),
    truncateWatches: () => toAll((watch) => watch.truncateNext()),
    resetConnections,
    restart: () => {
      forgetHistory();
      resetConnections();
    },
  };
  const take = (request: RequestRecord): Mishap | undefined => {
    const index = pending.findIndex(({ fault }) => fault.on?.(request) ?? true);
    const found = pending[index];
    if (found === undefined) return undefined;
    found.left -= 1;
    if (found.left === 0) pending.splice(index, 1);
    return found.fault.mishap;
  };
  return { faults, take };
}

const reasons: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
};

export function refusalOf({
  answer,
  reason,
  message = `injected ${answer}`,
  retryAfterSeconds,
  causes,
}: Exclude<Mishap, string>): Refusal {
  return new Refusal(answer, reason ?? reasons[answer] ?? 'InternalError', message, {
    retryAfterSeconds,
    ...(causes === undefined ? {} : { causes }),
  });
}
