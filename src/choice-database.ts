import { type ChoiceStore, mergedChoices, type StoredChoice } from './gpu/tuner-table.ts'

const DATABASE = 'fovea'
const STORE = 'tuner'

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

async function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(STORE)
  return settled(request)
}

/**
 * Measured choices in the page's IndexedDB, a record an adapter and browser: a browser does not tell the
 * driver's version, and brings its own shader compiler. Reading and adding are one transaction, so pages may
 * write at once.
 */
export class ChoiceDatabase implements ChoiceStore {
  #key(adapter: string): string {
    return `${adapter} · ${globalThis.navigator?.userAgent ?? ''}`
  }

  async read(adapter: string): Promise<unknown> {
    const database = await open()
    try {
      return await settled(database.transaction(STORE).objectStore(STORE).get(this.#key(adapter)))
    } finally {
      database.close()
    }
  }

  async write(adapter: string, choices: ReadonlyMap<string, StoredChoice>): Promise<void> {
    const database = await open()
    try {
      const transaction = database.transaction(STORE, 'readwrite')
      const done = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve()
        transaction.onabort = () => reject(transaction.error)
      })
      const store = transaction.objectStore(STORE)
      const there = await settled(store.get(this.#key(adapter)))
      store.put(mergedChoices(there, adapter, choices), this.#key(adapter))
      await done
    } finally {
      database.close()
    }
  }
}
