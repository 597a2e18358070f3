"""Celery's call becomes a message.

``renderer``  Celery and kombu make the messages of an occurrence, and they are captured
``template``  a message that was rendered once, with places to fill in
``reasons``   why messages are rendered one by one: said once, and counted
"""
