/** The calls from a test to the program inside a namespace (`agent.ts`). `address` defaults to `::`, both families. */
export type Call =
  /** Answers every GET with `body` and closes. */
  | { do: 'serveHttp'; port: number; address?: string; body: string; status?: number }
  /** Sends `greeting` to each client, then echoes. */
  | { do: 'serveLines'; port: number; address?: string; greeting: string }
  | { do: 'setStatus'; port: number; status: number }
  | { do: 'unlisten'; port: number; address?: string }
  | { do: 'fetch'; address: string; port: number; timeoutMs?: number }
  /** Runs furiwake's own health probe. `slowness`: it waits for so many times as long. */
  | { do: 'probe'; addresses: readonly string[]; slowness: number }
  /** Answers every datagram with `body` and the address and port that it came from: `n1 198.51.100.2 40000`. */
  | { do: 'serveUdp'; port: number; body: string }
  /**
   * Sends a datagram of `bytes`, from `localPort` if it is set, and waits for the answer. `isConnected`: only an answer from
   * `address` counts, and a refusal is reported.
   */
  | AskUdp
  /** Resolves with what the server sends first, and hangs up. From `localPort` if it is set. */
  | Greet
  /** Answers `/healthz` of kube-proxy, with the end of its last sync, and keeps connections open. */
  | { do: 'reportSync'; port: number; syncedMs: number }
  | { do: 'dial'; address: string; port: number }
  | { do: 'say'; id: number; text: string }
  | { do: 'heard'; id: number }
  | { do: 'hangUp'; id: number };

export type Greet = {
  readonly do: 'greet';
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly localPort?: number | undefined;
};

export type AskUdp = {
  readonly do: 'askUdp';
  readonly address: string;
  readonly port: number;
  readonly localPort?: number;
  readonly timeoutMs?: number;
  readonly bytes?: number;
  readonly isConnected?: boolean;
};

/** `error` is the name of the errno if there is one (`ECONNRESET`). */
export type Outcome = {
  readonly error?: string;
  readonly id?: number;
  readonly status?: number;
  readonly text?: string;
  /** Of a probe, in the order of the addresses. */
  readonly answers?: readonly string[];
  readonly end?: 'open' | 'ended' | 'reset';
};
