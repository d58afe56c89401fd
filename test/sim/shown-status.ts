import type { SimObject } from './kinds.ts';

type Server = { get(kind: string, key: string): SimObject | undefined };

/** The status of a Service as its users see it. */
export type ShownStatus = {
  readonly loadBalancer?: { readonly ingress?: readonly ShownIngress[] };
  readonly conditions?: readonly ShownCondition[];
};

type ShownIngress = { readonly ip: string; readonly ipMode?: string; readonly ports?: readonly object[] };

type ShownCondition = Readonly<Record<'type' | 'status' | 'reason' | 'message', string>>;

/** `key`: `namespace/name`. Empty if there is no such Service. */
export function shownStatus(server: Server, key: string): ShownStatus {
  return server.get('Service', key)?.status ?? {};
}

export function shownIps(server: Server, key: string): readonly string[] {
  return (shownStatus(server, key).loadBalancer?.ingress ?? []).map(({ ip }) => ip);
}

/** The condition `furiwake.dev/…` of this type. */
export function shownCondition(
  server: Server,
  key: string,
  type: 'AddressAssigned' | 'Serving',
): ShownCondition | undefined {
  return shownStatus(server, key).conditions?.find((condition) => condition.type === `furiwake.dev/${type}`);
}
