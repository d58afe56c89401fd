import { applyPatch, type Operation } from 'rfc6902';
import type { SimKind, SimMeta, SimObject } from './kinds.ts';
import { conflict, invalid, notFound, Refusal } from './refusal.ts';
import { makeServiceRules } from './service-rules.ts';
import { applyStatus, updateStatus } from './status-owners.ts';
import { type OwnedObject, keyOf, type Storage, type Stored } from './storage.ts';

/** The target of a write. */
export type Target = { readonly kind: SimKind; readonly key: string; readonly subresource: string | undefined };

/**
 * The writes of the API, each limited to its part of the object, with the rules of its kind. All throw {@link Refusal}.
 */
export type Writes = {
  create(kind: SimKind, namespace: string | undefined, body: SimObject): Stored;
  replace(target: Target, body: SimObject, manager: string): Stored;
  /** RFC 6902; a patch that does not fit, or a `test` that fails, is 422 without causes, as from the API server. */
  jsonPatch(target: Target, operations: Operation[], manager: string): Stored;
  /** Server-side apply, of a status. */
  apply(target: Target, body: SimObject, manager: string, force: boolean): Stored;
  /** Creates or replaces, spec and status at once: for the set-up of tests. */
  put(kind: SimKind, body: SimObject, manager: string): Stored;
};

/** `admit`: a mutating admission plugin for Services. */
export function makeWrites(storage: Storage, admit: (service: SimObject) => SimObject): Writes {
  const serviceRules = makeServiceRules();

  const present = ({ kind, key }: Target, uid?: string): Stored => {
    const stored = storage.get(kind, key);
    if (stored !== undefined) return stored;
    const what = `${kind.plural} "${key}"`;
    throw uid === undefined ? notFound(what) : conflict(what, `uid mismatch: no object, and the one given has ${uid}`);
  };

  const namespaceKind = storage.kindOf('Namespace');
  /** A deleted one stays in the phase Terminating: nothing here empties it. */
  const createNamespace = ({ metadata }: SimObject): Stored =>
    storage.create(namespaceKind, { metadata, spec: { finalizers: ['kubernetes'] } });
  for (const name of ['default', 'kube-system']) createNamespace({ metadata: { name } });

  const refuseInEndingNamespace = (kind: SimKind, namespace: string | undefined): void => {
    if (!kind.isNamespaced || namespace === undefined) return;
    const found = storage.get(namespaceKind, namespace);
    if (found === undefined) throw notFound(`namespaces "${namespace}"`);
    if (found.object.metadata.deletionTimestamp === undefined) return;
    const message = `${kind.plural} is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`;
    const causes = [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ];
    throw new Refusal(403, 'Forbidden', message, { causes });
  };

  const write = (target: Target, draft: OwnedObject): Stored => {
    const isService = target.kind.kind === 'Service';
    if (isService && target.subresource === 'status') serviceRules.onStatus(draft.object);
    const { object, owners } = draft;
    return storage.update(
      target.kind,
      target.key,
      isService
        ? serviceRules.onWrite({ object: admit(object), owners }, storage.get(target.kind, target.key)?.object)
        : draft,
    );
  };

  /** Replaces the old object: each path uses only its own part of the new one. */
  const overwrite = (target: Target, old: Stored, next: SimObject, manager: string): Stored => {
    if (keyOf({ ...next.metadata, ...namespaceOf(old) }) !== target.key)
      throw new Refusal(400, 'BadRequest', 'the name of the object does not match the name on the URL');
    if (target.subresource === 'status') {
      const changed = updateStatus({ status: old.object.status ?? {}, owners: old.owners }, manager, next.status ?? {});
      const metadata = { ...old.object.metadata, ...preconditions(next.metadata) };
      return write(target, { object: { ...old.object, metadata, status: changed.status }, owners: changed.owners });
    }
    const status = target.kind.hasStatus && old.object.status !== undefined ? { status: old.object.status } : {};
    return write(target, { object: { ...next, ...status }, owners: old.owners });
  };

  const create: Writes['create'] = (kind, namespace, body) => {
    refuseInEndingNamespace(kind, namespace);
    const metadata = { ...body.metadata, ...(kind.isNamespaced && namespace !== undefined ? { namespace } : {}) };
    const { status: _status, ...rest } = { ...body, metadata };
    if (kind.kind === 'Event') refuseLongNote(body);
    if (kind === namespaceKind) return createNamespace(rest);
    if (!kind.hasStatus) return storage.create(kind, { ...body, metadata });
    if (kind.kind !== 'Service') return storage.create(kind, rest);
    return storage.create(kind, serviceRules.onWrite({ object: rest, owners: new Map() }, undefined).object);
  };

  return {
    create,
    replace: (target, body, manager) => {
      if (target.kind.kind === 'Lease') refuseLease(body);
      return overwrite(target, present(target, body.metadata.uid), body, manager);
    },
    jsonPatch: (target, operations, manager) => {
      const old = present(target);
      const next = structuredClone(old.object);
      if (applyPatch(next, operations).some((error) => error !== null))
        throw new Refusal(422, 'Invalid', 'the server rejected our request due to an error in our request');
      return overwrite(target, old, next, manager);
    },
    apply: (target, body, manager, force) => {
      if (target.subresource !== 'status')
        throw new Refusal(415, 'UnsupportedMediaType', 'this server applies statuses only');
      const { uid } = body.metadata;
      const old = present(target, uid);
      if (uid !== undefined && uid !== old.object.metadata.uid)
        throw invalid(`metadata.uid: Invalid value: "${uid}": field is immutable`, 'metadata.uid');
      const { status, owners } = applyStatus(
        { status: old.object.status ?? {}, owners: old.owners },
        manager,
        body.status ?? {},
        force,
      );
      return write(target, { object: { ...old.object, status }, owners });
    },
    put: (kind, body, manager) => {
      const { namespace } = body.metadata;
      if (namespace !== undefined && storage.get(namespaceKind, namespace) === undefined)
        createNamespace({ metadata: { name: namespace } });
      const key = keyOf(body.metadata);
      const target = { kind, key, subresource: undefined };
      const old = storage.get(kind, key);
      const { resourceVersion: _version, uid: _uid, ...metadata } = body.metadata;
      const written =
        old === undefined
          ? create(kind, metadata.namespace, { ...body, metadata })
          : overwrite(target, old, { ...body, metadata }, manager);
      if (!kind.hasStatus || body.status === undefined) return written;
      return overwrite({ ...target, subresource: 'status' }, written, { ...body, metadata }, manager);
    },
  };
}

function refuseLease({ metadata, spec }: SimObject): void {
  if (metadata.resourceVersion === undefined)
    throw invalid(
      'metadata.resourceVersion: Invalid value: 0: must be specified for an update',
      'metadata.resourceVersion',
    );
  if (Number(spec?.['leaseDurationSeconds'] ?? 1) <= 0)
    throw invalid('spec.leaseDurationSeconds: Invalid value: must be greater than 0', 'spec.leaseDurationSeconds');
}

function refuseLongNote({ note }: SimObject): void {
  if (Buffer.byteLength(typeof note === 'string' ? note : '') > 1024)
    throw invalid('note: Invalid value: can have at most 1024 bytes', 'note');
}

function namespaceOf({ object }: Stored): Partial<SimMeta> {
  const { namespace } = object.metadata;
  return namespace === undefined ? {} : { namespace };
}

function preconditions({ uid, resourceVersion }: SimMeta): Partial<SimMeta> {
  return { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
}
